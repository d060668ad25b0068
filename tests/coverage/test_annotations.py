import gzip
import json

import numpy as np
import pytest

from ssd_jax.coverage import annotations

COCO = {
    "images": [
        {"id": 7, "file_name": "a.jpg", "width": 200, "height": 100},
        {"id": 9, "file_name": "b.jpg", "width": 50, "height": 50},
    ],
    "categories": [{"id": 5, "name": "dog"}, {"id": 2, "name": "cat"}],
    "annotations": [
        {"image_id": 7, "category_id": 5, "bbox": [20, 10, 100, 50]},
        {"image_id": 7, "category_id": 2, "bbox": [0, 0, 10, 10], "iscrowd": 1},
        {"image_id": 7, "category_id": 2, "bbox": [5, 5, 0, 10]},
    ],
}


@pytest.mark.parametrize("name", ["x.json", "x.json.gz"])
def test_coco_files(tmp_path, name):
    data = json.dumps(COCO).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    found = annotations.read([str(path)])
    assert found.class_names == ("cat", "dog")  # by category id
    assert [image.image_id for image in found.images] == ["a.jpg", "b.jpg"]
    # (20, 10) to (120, 60) of 200 x 100.
    np.testing.assert_allclose(found.images[0].boxes_xyxy, [[0.1, 0.1, 0.6, 0.6]], rtol=1e-6)
    assert found.images[0].labels.tolist() == [2]
    assert found.images[1].boxes_xyxy.shape == (0, 4)
    assert found.dropped == 2
    np.testing.assert_allclose(found.sides(), [[0.5, 0.5]], rtol=1e-6)
    assert [image.size for image in found.images] == [(100, 200), (50, 50)]  # height, width
    both = annotations.read([f"{path}, {path}"])
    assert len(both.images) == 4
    both = annotations.read([str(path), str(path)])
    assert len(both.images) == 4
    assert both.dropped == 4


def test_prepared_data(shapes_dir):
    found = annotations.read(["shapes:val"], str(shapes_dir))
    assert len(found.images) == 10
    assert len(found.class_names) == 10
    assert ((found.sides() > 0) & (found.sides() <= 1)).all()
    assert {image.size for image in found.images} == {(64, 64)}


def test_a_sample_of_the_boxes(shapes_dir):
    found = annotations.read(["shapes:val"], str(shapes_dir))
    boxes = found.boxes()
    np.testing.assert_array_equal(found.sample(len(boxes)), boxes)
    drawn = found.sample(len(boxes) - 1)
    assert len(np.unique(drawn, axis=0)) == len(boxes) - 1
    assert set(map(tuple, drawn)) < set(map(tuple, boxes))


def test_a_sample_on_an_input_is_in_pixels_and_has_areas():
    boxes = np.array([[0.1, 0.2, 0.3, 0.6], [0.5, 0.1, 0.5, 0.9]], np.float32)  # the second: none
    image = annotations.ImageBoxes("a", boxes, np.ones(2, int))
    data = annotations.BoxSet("made", ("cat",), (image,), 0)
    found = data.sample_on((100, 200), 10)  # 200 pixels wide
    np.testing.assert_allclose(found, [[20, 20, 60, 60]], rtol=1e-6)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"images": []}', b"\xff\xfe"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.json is not a COCO instances file"):
        annotations.read([str(path)])


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("bbox", [0.1, 0.1, 0.5, 0.5], "expected pixels"),
        ("bbox", ["1", 1, 9, 9], "four numbers"),
        ("bbox", [20, 10, -5, 50], "xmin > xmax"),
        ("iscrowd", "0", "in iscrowd, got '0'"),
        ("category_id", [5], "in category_id"),
        ("image_id", "7", "no image with id '7'"),
        ("area", float("nan"), "in area, got nan"),
    ],
)
def test_files_are_refused_as_launch_prepare_refuses_them(tmp_path, field, value, reason):
    content = json.loads(json.dumps(COCO))
    content["annotations"][0][field] = value
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"1 problem\(s\) in .*x\.json") as error:
        annotations.read([str(path)])
    assert reason in str(error.value)


def test_a_file_without_sizes(tmp_path):
    content = json.loads(json.dumps(COCO))
    del content["images"][1]["width"], content["images"][1]["height"]
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"image 9 \(b\.jpg\): no height, width"):
        annotations.read([str(tmp_path / "x.json")])


def test_what_cannot_be_read_together(tmp_path):
    with pytest.raises(ValueError, match=r"no file .*missing\.json"):
        annotations.read([str(tmp_path / "missing.json")])
    with pytest.raises(ValueError, match="at least one source"):
        annotations.read([])
    paths = []
    for name, categories in (("a", COCO["categories"]), ("b", COCO["categories"][:1])):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(COCO | {"categories": categories, "annotations": []}))
        paths.append(str(path))
    with pytest.raises(ValueError, match=r"b\.json has the classes \('dog',\)"):
        annotations.read(paths)
