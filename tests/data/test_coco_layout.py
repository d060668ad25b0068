import json
import os

import pytest
from annotated_pictures import encode, noise

from ssd_jax.data import coco
from ssd_jax.data.examples import Problems


def content(**image):
    return {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 60, "height": 40, **image}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [6, 4, 24, 16]}],
        "categories": [{"id": 1, "name": "cat"}],
    }


@pytest.fixture
def write(tmp_path):
    """Writes files: pictures, and COCO's JSON with these fields of its image."""

    def write(*names, **image):
        for name in names:
            path = tmp_path / "source" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.lower().endswith("json"):
                path.write_text(json.dumps(content(**image)))
            else:
                path.write_bytes(encode(noise(40, 60), "JPEG"))
        return tmp_path / "source"

    return write


def read(source):
    """The ids of each split, and all problems."""
    reader, problems = coco.CocoFolder(source), Problems()
    splits = {
        split: [example.image_id for example in reader.examples(split, problems)]
        for split in reader.split_sizes
    }
    return splits, [str(problem) for problem in problems], reader.notes


@pytest.mark.parametrize(
    ("names", "source", "splits"),
    [
        (["annotations/instances_train2017.json", "train2017/1.jpg"], ".", ["train2017"]),
        (["annotations/train.json", "annotations/val.json", "images/1.jpg"], ".", ["train", "val"]),
        (["Annotations/instances_train.JSON", "Images/1.jpg"], ".", ["train"]),
        (["train.json", "images/train/1.jpg"], ".", ["train"]),
        (["train/_annotations.coco.json", "train/1.jpg"], ".", ["train"]),
        (["valid/annotations.json", "valid/1.jpg"], ".", ["valid"]),
        (["_annotations.coco.json", "1.jpg"], ".", ["train"]),
        (["valid/_annotations.coco.json", "valid/1.jpg"], "valid", ["valid"]),
        (["annotations/instances_val.json", "images/1.jpg"], "annotations", ["val"]),
        (["annotations/instances_val.json", "1.jpg"], "annotations/instances_val.json", ["val"]),
        (["train/_annotations.coco.json", "train/1.jpg"], "train/_annotations.coco.json",
         ["train"]),
    ],
)  # fmt: skip
def test_layouts(write, names, source, splits):
    found, problems, notes = read(write(*names) / source)
    assert found == {split: ["1"] for split in splits}
    assert problems == []
    assert any("1 pictures and 1 annotations from" in note for note in notes)


def test_a_json_of_something_else(write):
    source = write("train.json", "images/1.jpg")
    (source / "package.json").write_text('{"a": 1}')
    (source / "results.json").write_text('[{"image_id": 1}]')
    (source / "._train.json").write_bytes(b"\0\5")
    found, problems, notes = read(source)
    assert (found, problems) == ({"train": ["1"]}, [])
    assert [note for note in notes if "none of COCO's lists" in note] == [
        f"left out: {source / name}.json, which holds none of COCO's lists"
        for name in ("package", "results")
    ]
    (source / "val.json").write_text("[]")
    with pytest.raises(ValueError, match=r"expected lists .*val\.json"):
        read(source)
    (source / "val.json").write_text("{")
    with pytest.raises(ValueError, match=r"val\.json is not JSON"):
        read(source)


def test_splits_are_not_overlooked(write):
    source = write("annotations/instances_train.json", "annotations/person_keypoints_train.json")
    write("images/1.jpg")
    assert "person_keypoints_train.json, which is not called" in " ".join(read(source)[2])
    write("annotations/val.json")
    with pytest.raises(ValueError, match=r"instances_train\.json and in .*val\.json"):
        read(source)
    (source / "annotations/val.json").unlink()
    write("valid/_annotations.coco.json")
    with pytest.raises(ValueError, match=r"splits stand in .*move those of one kind away"):
        read(source)


def test_a_split_that_could_not_be_opened(write):
    source = write("annotations/instances_train.v2.json", "images/1.jpg")
    with pytest.raises(ValueError, match=r"train\.v2\.json: a split cannot be called"):
        read(source)


@pytest.mark.parametrize(
    "file_name",
    ["1.jpg", "./1.jpg", "images/1.jpg", "images\\1.jpg", "..\\images\\1.jpg", "x/../1.jpg"],
)
def test_names_inside_the_source(write, file_name):
    found, problems, _ = read(write("train.json", "images/1.jpg", file_name=file_name))
    assert (found, problems) == ({"train": ["1"]}, [])


def test_an_absolute_name_inside_the_source(write, tmp_path):
    name = str(tmp_path / "source/images/1.jpg")
    assert read(write("train.json", "images/1.jpg", file_name=name))[0] == {"train": ["1"]}


@pytest.mark.parametrize(
    "file_name",
    ["../../secret.jpg", "images/../../../secret.jpg", "..\\..\\secret.jpg", "C:\\secret.jpg",
     "/secret.jpg", "link/../secret.jpg", "a\0b", "x" * 400, "\ud800.jpg", ".", "images"],
)  # fmt: skip
def test_names_that_lead_out_of_it_or_nowhere(write, tmp_path, file_name):
    write("../secret.jpg", "../other/x/y.jpg", "../other/secret.jpg")
    if file_name == "/secret.jpg":
        file_name = str(tmp_path / "secret.jpg")
    source = write("train.json", "images/2.jpg", file_name=file_name)
    (source / "images" / "link").symlink_to("../../other/x")
    found, problems, _ = read(source)
    assert found == {"train": []}
    assert len(problems) == 1
    assert "missing picture" in problems[0] or "expected a file_name inside" in problems[0]


def test_links_of_the_owner_are_followed_with_a_note(write):
    source = write("train.json", "../disk/1.jpg")
    (source / "images").symlink_to("../disk")
    found, problems, notes = read(source)
    assert (found, problems) == ({"train": ["1"]}, [])
    assert f"train: links lead to 1 pictures outside of {source}" in notes


def test_two_pictures_of_one_name(write):
    source = write("train.json", "images/1.jpg", "1.jpg")
    assert read(source)[0] == {"train": ["1"]}  # copies
    (source / "1.jpg").write_bytes(encode(noise(40, 60, seed=1), "JPEG"))
    found, problems, _ = read(source)
    assert found == {"train": []}
    assert "are two pictures; move one away" in problems[0]


def test_a_fifo_is_not_waited_for(write):
    source = write("train.json")
    (source / "images").mkdir()
    os.mkfifo(source / "images/1.jpg")
    _, problems, _ = read(source)
    assert "1.jpg: corrupt picture: expected a regular file" in problems[0]
    os.mkfifo(source / "val.json")
    with pytest.raises(ValueError, match="expected a regular file"):
        read(source)


def test_a_picture_measures_itself(write):
    source = write("train.json", "images/1.jpg", width=None, height=None)
    assert read(source)[0] == {"train": ["1"]}


def test_pictures_of_two_splits(write):
    source = write("annotations/train.json", "annotations/val.json", "images/1.jpg")
    assert "train and val share 1 pictures" in read(source)[2]
    source = write("annotations/train.json", "annotations/val.json", "train/1.jpg", "val/1.jpg")
    (source / "images/1.jpg").unlink()
    assert not any("share" in note for note in read(source)[2])
