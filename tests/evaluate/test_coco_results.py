import errno
import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssd_jax.evaluate.coco_results import GrowingResults, write_coco_results

COCO_IDS = (1, 2, 18, 90)  # with gaps, as COCO's
ARRAYS = ("boxes_xyxy", "scores", "labels")


def image_ids(path):
    return [entry["image_id"] for entry in json.loads(path.read_text())]


def test_the_file_is_cocos_format(tmp_path, found):
    path = tmp_path / "detections.json"
    detections = [
        found("42", [(258.15, 41.29, 606.4, 285)], [0.236], [3]),
        found("empty"),
        found("000001", [(0, 0, 1 / 3, 1)], [1 / 3], [1]),
    ]
    write_coco_results(path, detections, category_ids=COCO_IDS)
    assert json.loads(path.read_text()) == [
        {
            "image_id": 42,
            "category_id": 18,
            "bbox": [258.15, 41.29, 348.25, 243.71],
            "score": 0.236,
        },
        {"image_id": "000001", "category_id": 1, "bbox": [0, 0, 0.333, 1], "score": 0.333333},
    ]
    write_coco_results(path, detections)
    assert [entry["category_id"] for entry in json.loads(path.read_text())] == [3, 1]


@given(seed=st.integers(0, 2**32 - 1), category_ids=st.sampled_from([None, (7, 3, 12)]))
def test_the_file_holds_every_detection(scene, tmp_path_factory, seed, category_ids):
    _, detections = scene(seed)
    names = ["139", "000139", "bild 7²/ä.jpg", ("٣", "²", "", "-1")[seed % 4]]
    detections = [x._replace(image_id=n) for x, n in zip(detections, names, strict=False)]
    path = tmp_path_factory.mktemp("results") / "detections.json"
    write_coco_results(path, detections, category_ids=category_ids)
    entries = json.loads(path.read_text(encoding="utf-8"))
    ids = [str(entry["image_id"]) for entry in entries]
    assert ids == [x.image_id for x in detections for _ in x.scores]
    boxes = np.array([entry["bbox"] for entry in entries]).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    labels = np.array([entry["category_id"] for entry in entries], int)
    if category_ids is not None:
        labels = np.searchsorted(np.sort(category_ids), labels)
        labels = np.argsort(category_ids)[labels] + 1
    scores = [entry["score"] for entry in entries]
    wanted = [np.concatenate([getattr(x, name) for x in detections]) for name in ARRAYS]
    np.testing.assert_allclose(boxes, wanted[0], atol=1e-3)
    np.testing.assert_allclose(scores, wanted[1], atol=1e-6)
    np.testing.assert_array_equal(labels, wanted[2])


def test_pycocotools_reads_the_file(tmp_path, found):
    coco = pytest.importorskip("pycocotools.coco")
    table = coco.COCO()
    table.dataset = {
        "images": [{"id": 42}, {"id": 7}],
        "categories": [{"id": i} for i in COCO_IDS],
        "annotations": [],
    }
    table.createIndex()
    detections = [
        found("42", [(1, 2, 11, 22)], [0.5], [4]),
        found("7", [(0, 0, 3, 3)], [0.25], [2]),
    ]
    write_coco_results(tmp_path / "detections.json", detections, category_ids=COCO_IDS)
    loaded = table.loadRes(str(tmp_path / "detections.json"))
    (entry,) = loaded.loadAnns(loaded.getAnnIds(imgIds=[42]))
    assert (entry["category_id"], entry["bbox"], entry["area"]) == (90, [1, 2, 10, 20], 200)
    assert sorted(loaded.getImgIds()) == [7, 42]


def test_no_detections_is_an_empty_list(tmp_path, found):
    write_coco_results(tmp_path / "detections.json", [found("a")])
    assert json.loads((tmp_path / "detections.json").read_text()) == []


def test_a_number_too_large_for_other_programs_and_a_name_that_is_not_utf8(tmp_path, found):
    names = [str(2**63 - 1), str(2**63), os.fsdecode(b"\xe4"), "ä"]
    path = tmp_path / "detections.json"
    write_coco_results(path, [found(name, [(0, 0, 1, 1)], [0.5]) for name in names])
    ids = [entry["image_id"] for entry in json.loads(path.read_text(encoding="utf-8"))]
    assert ids == [2**63 - 1, str(2**63), os.fsdecode(b"\xe4"), "ä"]


def test_a_growing_file_can_be_read_at_any_moment(tmp_path, found):
    path, part = tmp_path / "detections.json", tmp_path / "detections.part.json"
    images = [
        found("7", [(0, 0, 3, 4)], [0.5], [2]),
        found("b"),
        found("c", [(1, 1, 2, 2)], [0.25]),
    ]
    with GrowingResults(path, category_ids=COCO_IDS) as results:
        for number in range(len(images)):
            assert not path.exists()
            assert image_ids(part) == [7][:number]
            results.add(images[number])
    assert not part.exists()
    whole = tmp_path / "whole.json"
    write_coco_results(whole, images, category_ids=COCO_IDS)
    assert path.read_bytes() == whole.read_bytes()
    assert json.loads(path.read_text())[0] == {
        "image_id": 7,
        "category_id": 2,
        "bbox": [0, 0, 3, 4],
        "score": 0.5,
    }


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
def test_whatever_ends_a_growing_file_keeps_what_it_has(error, tmp_path, found):
    path = tmp_path / "detections.json"

    def stop():
        with GrowingResults(path) as results:
            results.add(found("a", [(0, 0, 1, 1)], [0.5]))
            raise error

    with pytest.raises(error):
        stop()
    assert image_ids(path) == ["a"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_keeps_what_was_written_before(tmp_path, found):
    path = tmp_path / "detections.json"

    class Full:
        """A file with place for 200 bytes."""

        def __init__(self, file):
            self._file = file

        def __getattr__(self, name):
            return getattr(self._file, name)

        def write(self, content):
            place = 200 - self._file.tell()
            if place <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self._file.write(content[:place])

    def fill():
        with GrowingResults(path) as results:
            results._file = Full(results._file)
            for name in "abcd":
                results.add(found(name, [(0, 0, 1, 1)], [0.5]))

    with pytest.raises(OSError, match=r"No space left.*detections\.part\.json"):
        fill()
    # An entry is 74 bytes: two fit.
    assert image_ids(path) == ["a", "b"]


@pytest.mark.parametrize("name", ["detections.json", "detections.part.json"])
def test_a_growing_file_replaces_none(name, tmp_path):
    (tmp_path / name).write_text("mine")
    with pytest.raises(FileExistsError, match=name), GrowingResults(tmp_path / "detections.json"):
        pass
    assert (tmp_path / name).read_text() == "mine"
