import gzip
import json
import os

import pytest

from ssd_jax.data import coco_file
from ssd_jax.data.examples import NoAreaError, Problems

NAMES = {0: "cat", 2: "dog"}
WRONG_SIZE = "image 1: expected whole numbers of pixels in height and width, got"


@pytest.fixture
def read(tmp_path):
    """Reads a file of these images and annotations: pictures with objects' ids, and problems."""

    def read(images, annotations=()):
        path = tmp_path / "train.json"
        content = {"images": images, "annotations": annotations, "categories": []}
        path.write_text(json.dumps(content))
        problems = Problems()
        found = [
            (picture.image_id, picture.size, [a.fields.get("id") for a in picture.annotations])
            for picture in coco_file.CocoFile(path).pictures(problems)
        ]
        return found, [str(problem).partition("train.json, ")[2] for problem in problems]

    return read


def image(number=1, name="1.jpg", **fields):
    return {"id": number, "file_name": name, "width": 64, "height": 48, **fields}


def read_object(**fields):
    annotation = {"category_id": 2, "bbox": [16, 12, 32, 24], "area": 100, "iscrowd": 0, **fields}
    return coco_file.read_object(annotation, (48, 64), NAMES, ("cat", "dog"))


@pytest.mark.parametrize(
    "size",
    [{}, {"width": None, "height": None}, {"width": 0, "height": 0}],
)
def test_a_size_that_is_not_known(read, size):
    entry = {"id": 1, "file_name": "1.jpg", **size}
    assert read([entry]) == ([(1, None, [])], [])


def test_objects_are_found_by_the_same_id(read):
    images = [image(1, "1.jpg"), image("2", "2.jpg"), image(3.0, "3.jpg")]
    annotations = [{"id": n, "image_id": i} for n, i in enumerate((1, "2", 3, 1.0, "1", 2, True))]
    found, problems = read(images, annotations)
    assert found == [(1, (48, 64), [0, 3]), ("2", (48, 64), [1]), (3, (48, 64), [2])]
    assert problems == [
        "annotation 4: no image with id '1'",
        "annotation 5: no image with id 2",
        "annotation 6: expected a whole number or a text in image_id, got True",
    ]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (None, "image number 1: expected an object of JSON, got null"),
        ([1], "image number 1: expected an object of JSON, got [1]"),
        ({"file_name": "1.jpg"}, "image number 1: no id"),
        ({"id": 7}, "image 7: no file_name"),
        (image([1]), "image number 1: expected a whole number or a text in id, got [1]"),
        (image(name=1), "image 1: expected a text in file_name, got 1"),
        (image(name=""), "image 1: expected a text in file_name, got ''"),
        (image(width=None), "image 1: no width"),
        (image(width="64"), f"{WRONG_SIZE} 48 and '64'"),
        (image(height=-1), f"{WRONG_SIZE} -1 and 64"),
        (image(height=float("nan")), f"{WRONG_SIZE} nan and 64"),
    ],
)
def test_images_that_cannot_be_used(read, entry, problem):
    found, problems = read([entry, image(2, "2.jpg")])
    assert [image_id for image_id, *_ in found] == [2]
    assert problems == [problem]


def test_entries_that_would_divide_the_objects_of_a_picture(read):
    assert read([image(), image()])[1] == ["image 1: listed more than once, used once"]
    images = [image(1, "1.jpg"), image(1, "2.jpg"), image(3, "3.jpg"), image(4, "3.jpg"), image(5)]
    images[-1]["file_name"] = "5.jpg"
    found, problems = read(images, [{"image_id": 1}, {"image_id": 5, "id": 9}, None])
    assert found == [(5, (48, 64), [9])]
    assert problems == [
        "annotation number 3: expected an object of JSON, got null",
        "image 1 (1.jpg): has the same id as 2.jpg; neither is used",
        "image 1 (2.jpg): has the same id as 1.jpg; neither is used",
        "image 3 (3.jpg): has the same file_name as image 4; neither is used",
        "image 4 (3.jpg): has the same file_name as image 3; neither is used",
    ]
    # A record holds an id as text.
    assert read([image(1, "1.jpg"), image("1", "2.jpg")])[0] == []


def test_an_object():
    found = read_object()
    assert found.box.tolist() == [16, 12, 48, 36]
    assert (found.label, found.area, found.crowd, found.difficult) == (1, 100, False, False)
    assert read_object(category_id=0).label == 0
    assert read_object(category_id=2.0, iscrowd=True).crowd


@pytest.mark.parametrize("area", [None, 0, 0.0, 32 * 24])
def test_an_area_that_is_not_known(area):
    assert read_object(area=area).area == 32 * 24


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"category_id": 7}, "unknown class 7"),
        ({"category_id": [1]}, r"whole number from 0 in category_id, got \[1\]"),
        ({"category_id": "2"}, "in category_id, got '2'"),
        ({"category_id": None}, "in category_id, got null"),
        ({"bbox": None}, "expected a bbox of four numbers, got null"),
        ({"bbox": [1, 2, 3]}, r"four numbers, got \[1, 2, 3\]"),
        ({"bbox": [1, 2, 3, 4, 5]}, "four numbers"),
        ({"bbox": ["1", 2, 3, 4]}, "four numbers"),
        ({"bbox": [1, 2, True, 4]}, "four numbers"),
        ({"bbox": [1, 2, float("nan"), 4]}, "not finite"),
        ({"bbox": [0.25, 0.25, 0.5, 0.5]}, "expected pixels, got corners between 0 and 1"),
        ({"bbox": [0, 0, 1, 1.0001]}, "expected pixels"),
        ({"bbox": [0, 0, 90, 9]}, "outside the picture"),
        ({"iscrowd": "0"}, "expected 0 or 1 in iscrowd, got '0'"),
        ({"iscrowd": 2}, "in iscrowd, got 2"),
        ({"area": float("nan")}, "expected a number in area, got nan"),
        ({"area": "100"}, "in area, got '100'"),
        ({"area": True}, "in area, got True"),
        ({"area": -1}, "an area in pixels, from 0 to 64 x 48, got -1"),
        ({"area": 1e30}, "an area in pixels"),
    ],
)
def test_objects_that_cannot_be_used(fields, reason):
    with pytest.raises(ValueError, match=reason):
        read_object(**fields)


def test_a_box_without_area_is_told_apart():
    with pytest.raises(NoAreaError):
        read_object(bbox=[16, 12, 0, 24])


@pytest.mark.parametrize("key", coco_file.KEYS)
@pytest.mark.parametrize("value", [None, {"1": {}}, "x"])
def test_lists_that_are_none(tmp_path, key, value):
    content = {"images": [], "annotations": [], "categories": []} | {key: value}
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"expected lists images, .* in .*a\.json"):
        coco_file.CocoFile(tmp_path / "a.json")


def test_compressed_files(tmp_path):
    path = tmp_path / "a.json.gz"
    data = gzip.compress(b'{"images": [], "annotations": [], "categories": []}')
    path.write_bytes(data)
    assert coco_file.CocoFile(path).num_images == 0
    for broken in (data[:-9], data[:20] + b"\xff" * 8 + data[28:], b"x"):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"a\.json\.gz is not JSON"):
            coco_file.CocoFile(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match="expected a regular file"):
        coco_file.CocoFile(path)
