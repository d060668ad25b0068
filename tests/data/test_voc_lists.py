import re

import pytest

from ssd_jax.data import voc

BOX = ("cat", (2, 2, 9, 9))


@pytest.fixture
def pictures(voc_tree):
    """A VOC folder with the pictures a, b, c and d; lists are written by each test."""
    for image_id in "abcd":
        voc_tree.add(image_id, BOX)
    return voc_tree


def sizes(tree):
    return voc.VocFolder(tree.folder).split_sizes


@pytest.mark.parametrize(
    "lines",
    [
        ("a", "b"),
        ("a.jpg", "b.jpg"),
        ("a.xml", "b.xml"),
        ("A", "B.JPG"),
        ("JPEGImages/a.jpg", "JPEGImages/b.jpg"),
        ("./a", "VOC2007/JPEGImages/b"),
        ("/home/x/data/a.jpg", "/home/x/data/b.jpg"),
        ("C:\\data\\a.jpg", "C:\\data\\b.jpg"),
        ('"a"', '"b"'),
        ("", " a\t", "", "b"),
    ],
)
def test_lines_of_many_forms(pictures, read_split, lines):
    pictures.split("train", *lines)
    reader = voc.VocFolder(pictures.folder)
    found, problems = read_split(reader, "train")
    assert [example.image_id for example in found] == ["a", "b"]
    assert problems == []
    assert "left out: 2 pictures in no list, such as c" in reader.notes


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_of_windows(pictures, encoding):
    path = pictures.folder / "ImageSets/Main/train.txt"
    path.write_bytes("a\r\nb\r\n".encode(encoding))
    assert sizes(pictures) == {"train": 2}


def test_a_name_that_ends_in_a_number_is_a_name(voc_tree):
    for image_id in ("cat 1", "dog 1", "cow 0"):
        voc_tree.add(image_id, BOX)
    voc_tree.split("train", "cat 1", "dog 1")
    voc_tree.split("val", "cow 0")
    assert sizes(voc_tree) == {"train": 2, "val": 1}


def test_a_second_column_is_not_guessed_at(pictures, read_split):
    pictures.split("train", "a\t1", "b -1")
    pictures.split("val", "c", "d")
    with pytest.raises(ValueError, match=r"train\.txt, line 1: .* has a second column"):
        voc.VocFolder(pictures.folder)
    pictures.split("train", "a", "b 1")
    found, problems = read_split(voc.VocFolder(pictures.folder), "train")
    assert [example.image_id for example in found] == ["a"]
    assert len(problems) == 1
    assert "train.txt, line 2: 'b 1' has a second column" in problems[0]


def test_lists_of_a_class(pictures):
    pictures.split("cat_train", "a  1", "b -1")
    with pytest.raises(ValueError, match=r"cat_train\.txt, line 1"):
        voc.VocFolder(pictures.folder)  # or all would be train
    pictures.split("train", "a", "b")
    pictures.split("dog_train")
    reader = voc.VocFolder(pictures.folder)
    assert reader.split_sizes == {"train": 2}
    assert "left out: 2 lists of a single class, such as cat_train.txt" in reader.notes


@pytest.mark.parametrize("lines", [(), (" ", "")])
def test_an_empty_list_is_not_dropped(pictures, lines):
    pictures.split("train", "a", "b")
    pictures.split("val", *lines)
    with pytest.raises(ValueError, match=r"val\.txt lists no picture"):
        voc.VocFolder(pictures.folder)


@pytest.mark.parametrize(
    ("line", "reason"),
    [("x", "'x' names no picture"), ("a.png", r"with that suffix"), ("a,cat", "names no picture")],
)
def test_lines_that_name_nothing(pictures, read_split, line, reason):
    pictures.split("train", "b", line)
    found, problems = read_split(voc.VocFolder(pictures.folder), "train")
    assert len(found) == 1
    assert "train.txt, line 2: " in problems[0]
    assert reason in problems[0]
    pictures.split("train", line)
    with pytest.raises(ValueError, match=r"train\.txt, line 1"):
        voc.VocFolder(pictures.folder)


def test_a_suffix_chooses_among_pictures(pictures, read_split):
    pictures.picture("a", suffix=".png")
    pictures.split("train", "a.png", "b")
    found, problems = read_split(voc.VocFolder(pictures.folder), "train")
    assert [example.filename for example in found] == ["a.png", "b.jpg"]
    assert problems == []


def test_paths_from_two_folders_are_not_read_as_one(pictures, read_split):
    pictures.split("train", "x/a", "y/b", "JPEGImages/c.jpg")
    found, problems = read_split(voc.VocFolder(pictures.folder), "train")
    assert [example.image_id for example in found] == ["c"]
    assert len(problems) == 2


@pytest.mark.parametrize("folder", ["ImageSets", "imagesets/MAIN", "."])
def test_where_lists_stand(pictures, folder):
    (pictures.folder / "ImageSets/Main").rmdir()
    (pictures.folder / "ImageSets").rmdir()
    (pictures.folder / folder).mkdir(parents=True, exist_ok=True)
    (pictures.folder / folder / "train.txt").write_text("a\nb\n")
    (pictures.folder / folder / "val.TXT").write_text("c\n")
    (pictures.folder / folder / "._train.txt").write_bytes(b"\0\5")
    (pictures.folder / "classes.txt").write_text("cat")
    assert sizes(pictures) == {"train": 2, "val": 1}


def test_lists_in_two_places(pictures):
    pictures.split("train", "a")
    (pictures.folder / "ImageSets/val.txt").write_text("b")
    with pytest.raises(ValueError, match=r"Main and in .*move those of one"):
        voc.VocFolder(pictures.folder)


@pytest.mark.parametrize("name", ["Main/train.csv", "Segmentation/train.txt"])
def test_lists_that_would_be_overlooked(pictures, name):
    (pictures.folder / "ImageSets/Segmentation").mkdir()
    (pictures.folder / "ImageSets" / name).write_text("a")
    with pytest.raises(ValueError, match=rf"expected lists .*got only {name}"):
        voc.VocFolder(pictures.folder)


@pytest.mark.parametrize("name", ["all", "train.v2", "a b", "a+b", "a[1]"])
def test_a_split_that_could_not_be_opened(pictures, name):
    pictures.split(name, "a")
    with pytest.raises(ValueError, match=re.escape(f"{name}.txt: a split cannot be called")):
        voc.VocFolder(pictures.folder)


def test_pictures_of_two_splits(pictures):
    pictures.split("train", "a", "b")
    pictures.split("val", "b", "c")
    pictures.split("trainval", "a", "b", "c")
    assert "train and val share 1 pictures" in voc.VocFolder(pictures.folder).notes
