import numpy as np
import pytest
from annotated_pictures import encode, exif, noise

from ssd_jax.data import coco


def test_a_folder_is_read(coco_tree, read_split):
    coco_tree.image(42)
    coco_tree.image(7)
    coco_tree.annotation(42, (6, 4, 24, 16), category_id=18, area=100.5)
    coco_tree.annotation(42, (0, 0, 60, 40), iscrowd=1)
    reader = coco.CocoFolder(coco_tree.save())
    assert reader.class_names == ("car", "dog")  # by category id
    assert reader.category_ids == (3, 18)
    assert reader.split_sizes == {"val": 2}
    (first, second), problems = read_split(reader, "val")
    assert problems == []
    assert (first.image_id, first.filename) == ("42", "000000000042.jpg")
    np.testing.assert_allclose(first.boxes_xyxy, [(0.1, 0.1, 0.5, 0.5), (0, 0, 1, 1)])
    assert first.labels.tolist() == [1, 0]
    assert first.crowd.tolist() == [False, True]
    assert not first.difficult.any()
    np.testing.assert_allclose(first.area, (100.5, 60 * 40))  # of the mask, or of the box
    assert (second.image_id, len(second.labels)) == ("7", 0)


def test_categories_can_be_chosen_and_ordered(coco_tree, read_split):
    coco_tree.image(1)
    coco_tree.annotation(1, (0, 0, 9, 9), category_id=18)
    coco_tree.annotation(1, (0, 0, 9, 9), category_id=3)
    folder = coco_tree.save()
    reader = coco.CocoFolder(folder, class_names=["dog"], drop_others=True)
    assert reader.category_ids == (18,)
    (example,), problems = read_split(reader, "val")
    assert example.labels.tolist() == [0]
    assert problems == []
    _, problems = read_split(coco.CocoFolder(folder, class_names=["dog"]), "val")
    assert "unknown class 'car'" in problems[0]
    with pytest.raises(ValueError, match="expected classes among car, dog, got cat"):
        coco.CocoFolder(folder, class_names=["cat"])


@pytest.mark.parametrize("layout", ["plain", "roboflow"])
def test_other_layouts(coco_tree, read_split, layout):
    coco_tree.image(1)
    coco_tree.annotation(1, (0, 0, 9, 9))
    folder = coco_tree.save()
    target = {"plain": folder / "val.json", "roboflow": folder / "val" / "_annotations.coco.json"}
    coco_tree.json.rename(target[layout])
    found, problems = read_split(coco.CocoFolder(folder), "val")
    assert len(found) == 1
    assert problems == []


def test_a_rotated_photograph(coco_tree, read_split):
    # The same turn as in test_voc: stored (6, 4, 30, 20) of 60 x 40 is upright (20, 6, 36, 30).
    coco_tree.image(1, encode(noise(40, 60), "JPEG", exif=exif(6)))
    coco_tree.annotation(1, (6, 4, 24, 16))
    (example,), problems = read_split(coco.CocoFolder(coco_tree.save()), "val")
    assert problems == []
    np.testing.assert_allclose(example.boxes_xyxy * (40, 60, 40, 60), [(20, 6, 36, 30)])


def test_every_defect_is_named_and_the_rest_is_read(coco_tree, read_split):
    coco_tree.image(1)
    coco_tree.annotation(1, (0, 0, 9, 9))  # 100
    coco_tree.annotation(1, (5, 5, 0, 9))
    coco_tree.annotation(1, (5, 5, -3, 9))
    coco_tree.annotation(1, (5, 5, 90, 9))
    coco_tree.annotation(1, (5, 5, 9, 9), category_id=4)
    coco_tree.annotation(1, (5, 5, 9))
    coco_tree.annotation(1, (1, 1, 9, 9), category_id=18)  # 106
    coco_tree.annotation(99, (1, 1, 9, 9))
    coco_tree.image(2)
    (coco_tree.folder / "val/000000000002.jpg").unlink()
    coco_tree.image(3, b"corrupt")
    coco_tree.image(4, height=41)
    coco_tree.image(1)
    coco_tree.content["images"].append({"id": 5, "file_name": "x.jpg"})

    found, problems = read_split(coco.CocoFolder(coco_tree.save()), "val")
    assert [example.image_id for example in found] == ["1"]
    assert found[0].labels.tolist() == [0, 1]
    expected = [
        "instances_val.json, annotation 107: no image with id 99",
        "annotation 101 of 000000000001.jpg: no area",
        "annotation 102 of 000000000001.jpg: xmin > xmax in (5, 5, 2, 14)",
        "annotation 103 of 000000000001.jpg: outside the picture of 60 x 40",
        "annotation 104 of 000000000001.jpg: unknown class 4",
        "annotation 105 of 000000000001.jpg: expected a bbox of four numbers, got [5, 5, 9]",
        "000000000002.jpg: missing picture",
        "000000000003.jpg: corrupt picture",
        "image 4 (000000000004.jpg): the annotation says 60 x 41, the picture is 60 x 40",
        "image 1: listed more than once",
        "image 5: no height, width",
    ]
    assert len(problems) == len(expected)
    for problem, text in zip(problems, expected, strict=True):
        assert text in problem


def test_malformed_json(coco_tree):
    coco_tree.json.write_text('{"images": [')
    with pytest.raises(ValueError, match=r"instances_val\.json is not JSON"):
        coco.CocoFolder(coco_tree.folder)
    coco_tree.json.write_text('{"images": []}')
    with pytest.raises(ValueError, match="expected lists images, annotations, categories in"):
        coco.CocoFolder(coco_tree.folder)


def test_categories_must_have_distinct_names_and_agree(coco_tree):
    folder = coco_tree.save()
    coco_tree.content["categories"][0]["id"] = 19
    coco_tree.json = coco_tree.json.with_name("instances_train.json")
    coco_tree.save()
    with pytest.raises(ValueError, match="same categories in every split"):
        coco.CocoFolder(folder)
    coco_tree.json.unlink()
    coco_tree.content["categories"][0]["name"] = "car"
    coco_tree.json = coco_tree.json.with_name("instances_val.json")
    coco_tree.save()
    with pytest.raises(ValueError, match="got twice car"):
        coco.CocoFolder(folder)


def test_not_a_coco_folder(tmp_path):
    with pytest.raises(ValueError, match=r"instances_\*\.json"):
        coco.CocoFolder(tmp_path)
