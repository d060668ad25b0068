import numpy as np
import pytest
from annotated_pictures import encode, exif, noise

from ssd_jax.data import voc


def test_a_folder_is_read(voc_tree, read_split):
    voc_tree.split("train", "b", "a")
    voc_tree.split("val", "c")
    voc_tree.split("dog_train", "b  1", "a -1")  # per class: not a split
    voc_tree.add("a", ("dog", (1, 1, 60, 40)))
    voc_tree.add("b", ("cat", (7, 5, 30, 20), True), ("dog", (38.8, 2, 50, 9.5), False))
    voc_tree.add("c")
    reader = voc.VocFolder(voc_tree.folder)
    assert reader.class_names == ("cat", "dog")
    assert reader.category_ids == (1, 2)
    assert reader.split_sizes == {"train": 2, "val": 1}

    (b, a), problems = read_split(reader, "train")
    assert problems == []
    assert (b.image_id, b.filename, b.height, b.width) == ("b", "b.jpg", 40, 60)
    assert b.image == (voc_tree.folder / "JPEGImages/b.jpg").read_bytes()
    # Inclusive: 7 .. 30 is 6 <= x < 30, 24 pixels wide; 5 .. 20 is 16 high.
    np.testing.assert_allclose(b.boxes_xyxy[0], (6 / 60, 4 / 40, 30 / 60, 20 / 40))
    np.testing.assert_allclose(b.boxes_xyxy[1], (37.8 / 60, 1 / 40, 50 / 60, 9.5 / 40))
    np.testing.assert_allclose(b.area, (24 * 16, 12.2 * 8.5))
    assert b.labels.tolist() == [0, 1]
    assert b.difficult.tolist() == [True, False]
    assert not b.crowd.any()
    np.testing.assert_array_equal(a.boxes_xyxy, [(0, 0, 1, 1)])
    (c,), _ = read_split(reader, "val")
    assert c.boxes_xyxy.shape == (0, 4)


def test_vocs_own_classes_are_in_alphabetical_order():
    assert tuple(sorted(voc.CLASS_NAMES)) == voc.CLASS_NAMES
    assert len(voc.CLASS_NAMES) == 20


def test_a_devkit_with_one_folder_stands_for_it(voc_tree):
    voc_tree.add("a", ("dog", (1, 1, 9, 9)))
    assert voc.VocFolder(voc_tree.folder.parent).split_sizes == {"train": 1}
    for name in ("JPEGImages", "Annotations"):
        (voc_tree.folder.parent / "VOC2012" / name).mkdir(parents=True)
    with pytest.raises(ValueError, match=r"exactly one .*found: VOC2007, VOC2012"):
        voc.VocFolder(voc_tree.folder.parent)


def test_not_a_voc_folder(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match=r"JPEGImages and Annotations.*found: none"):
            voc.VocFolder(folder)


def test_no_lists_is_one_split_of_everything(voc_tree, read_split):
    voc_tree.add("b", ("dog", (1, 1, 9, 9)))
    voc_tree.add("a")
    voc_tree.picture("unlabelled")
    voc_tree.picture("Thumbs", b"not a picture", suffix=".db")
    reader = voc.VocFolder(voc_tree.folder)
    found, problems = read_split(reader, "train")
    assert [example.image_id for example in found] == ["a", "b"]
    assert len(problems) == 1
    assert problems[0].endswith("unlabelled.xml: missing annotation")


def test_pictures_of_any_suffix(voc_tree, read_split):
    voc_tree.picture("a", encode(noise(40, 60)), suffix=".png")
    voc_tree.annotation("a", ("dog", (1, 1, 9, 9)))
    (example,), _ = read_split(voc.VocFolder(voc_tree.folder), "train")
    assert example.filename == "a.png"


def test_ids_with_spaces(voc_tree):
    voc_tree.split("train", "my photo 1", "my photo 2")
    voc_tree.add("my photo 1", ("dog", (1, 1, 9, 9)))
    assert voc.VocFolder(voc_tree.folder).split_sizes == {"train": 2}


@pytest.mark.parametrize("size", [None, (0, 0)])
def test_an_unknown_size_is_that_of_the_picture(voc_tree, read_split, size):
    voc_tree.picture("a")
    voc_tree.annotation("a", ("dog", (1, 1, 30, 20)), size=size)
    (example,), problems = read_split(voc.VocFolder(voc_tree.folder), "train")
    assert problems == []
    np.testing.assert_allclose(example.boxes_xyxy, [(0, 0, 0.5, 0.5)])


@pytest.mark.parametrize("frame", ["stored", "upright"])
def test_boxes_of_a_rotated_photograph_agree_with_the_upright_pixels(voc_tree, read_split, frame):
    # Stored 40 x 60, to be turned a quarter clockwise: upright 60 x 40 (height x width). The
    # stored box x 7..30, y 5..20 (6..30, 4..20 continuous) is then x 40-20..40-4, y 6..30.
    voc_tree.picture("a", encode(noise(40, 60), exif=exif(6)))
    corners, size = {
        "stored": ((7, 5, 30, 20), (40, 60)),
        "upright": ((21, 7, 36, 30), (60, 40)),
    }[frame]
    voc_tree.annotation("a", ("dog", corners), size=size)
    (example,), problems = read_split(voc.VocFolder(voc_tree.folder), "train")
    assert problems == []
    assert (example.height, example.width) == (60, 40)
    np.testing.assert_allclose(example.boxes_xyxy * (40, 60, 40, 60), [(20, 6, 36, 30)])


def test_every_defect_is_named_and_the_rest_is_read(voc_tree, read_split):
    voc_tree.split(
        "train", "good", "good", "objects", "no_picture", "no_xml", "corrupt", "size", "xml"
    )
    voc_tree.add("good", ("dog", (1, 1, 9, 9)))
    voc_tree.add(
        "objects",
        ("dog", (1, 1, 9, 9)),
        ("dog", (5, 5, 5, 9)),
        ("dog", (20, 5, 10, 9)),
        ("dog", (5, 5, 90, 9)),
        ("dgo", (1, 1, 9, 9)),
        ("dog", ("one", 1, 9, 9)),
        ("cat", (2, 2, 9, 9)),
    )
    voc_tree.annotation("no_picture", ("dog", (1, 1, 9, 9)))
    voc_tree.picture("no_xml")
    voc_tree.picture("corrupt", encode(noise(40, 60), "JPEG")[:500])
    voc_tree.annotation("corrupt", ("dog", (1, 1, 9, 9)))
    voc_tree.picture("size")
    voc_tree.annotation("size", ("dog", (1, 1, 9, 9)), size=(41, 60))
    voc_tree.picture("xml")
    voc_tree.xml("xml").write_text("<annotation><object>")

    reader = voc.VocFolder(voc_tree.folder, class_names=["dog", "cat"])
    found, problems = read_split(reader, "train")
    assert [example.image_id for example in found] == ["good", "objects"]
    assert found[1].labels.tolist() == [0, 1]
    assert found[1].boxes_xyxy.shape == (2, 4)
    expected = [
        "train.txt, good: listed more than once",
        "objects.xml, object 2 (dog): no area: xmin = xmax in (5, 5, 5, 9)",
        "objects.xml, object 3 (dog): xmin > xmax in (20, 5, 10, 9)",
        "objects.xml, object 4 (dog): outside the picture of 60 x 40: (5, 5, 90, 9)",
        "objects.xml, object 5 (dgo): unknown class 'dgo'; known are dog, cat",
        "objects.xml, object 6 (dog): expected a number in <xmin>, got 'one'",
        "no_picture.jpg: missing picture",
        "no_xml.xml: missing annotation",
        "corrupt.jpg: corrupt picture: images.decode: cannot read",
        "size.xml: the annotation says 60 x 41, the picture is 60 x 40",
        "xml.xml: no element found",
    ]
    assert len(problems) == len(expected)
    for problem, text in zip(problems, expected, strict=True):
        assert text in problem


def test_an_object_without_a_box(voc_tree, read_split):
    voc_tree.picture("a")
    voc_tree.xml("a").write_text("<annotation><object><name>dog</name></object></annotation>")
    (example,), problems = read_split(voc.VocFolder(voc_tree.folder), "train")
    assert len(example.labels) == 0
    assert problems[0].endswith("a.xml, object 1 (dog): no bndbox")


def test_other_classes_can_be_dropped_on_purpose(voc_tree, read_split):
    voc_tree.add("a", ("dog", (1, 1, 9, 9)), ("cat", (1, 1, 9, 9)))
    reader = voc.VocFolder(voc_tree.folder, class_names=["cat"], drop_others=True)
    (example,), problems = read_split(reader, "train")
    assert example.labels.tolist() == [0]
    assert problems == []
    with pytest.raises(ValueError, match="expected classes among cat, dog, got cta"):
        voc.VocFolder(voc_tree.folder, class_names=["cta"], drop_others=True)


def test_no_objects_at_all(voc_tree):
    voc_tree.add("a")
    with pytest.raises(ValueError, match="no object with a name"):
        voc.VocFolder(voc_tree.folder)
