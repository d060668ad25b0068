import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssd_jax.evaluate.coco_results import read_coco_results, write_coco_results

COCO_IDS = (1, 2, 18, 90)  # with gaps, as COCO's


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
def test_round_trip(scene, tmp_path_factory, seed, category_ids):
    _, detections = scene(seed)
    names = ["139", "000139", "bild 7²/ä.jpg", ("٣", "²", "", "-1")[seed % 4]]
    detections = [x._replace(image_id=n) for x, n in zip(detections, names, strict=False)]
    path = tmp_path_factory.mktemp("results") / "detections.json"
    write_coco_results(path, detections, category_ids=category_ids)
    read = read_coco_results(path, category_ids=category_ids)
    expected = [x for x in detections if len(x.scores)]
    assert [x.image_id for x in read] == [x.image_id for x in expected]
    for ours, theirs in zip(read, expected, strict=True):
        np.testing.assert_allclose(ours.boxes_xyxy, theirs.boxes_xyxy, atol=1e-3)
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-6)
        np.testing.assert_array_equal(ours.labels, theirs.labels)


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
    assert read_coco_results(tmp_path / "detections.json") == []


ENTRY = {"image_id": 1, "category_id": 2, "bbox": [0, 0, 1, 1], "score": 0.5}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"annotations": []}, "expected a list"),
        ([ENTRY, {"image_id": 1}], "as entry 1 of"),
        ([{**ENTRY, "bbox": [0, 0, 1]}], "as entry 0 of"),
        ([{**ENTRY, "bbox": None}], "as entry 0 of"),
        ([7], "as entry 0 of"),
        ([{**ENTRY, "category_id": 5}], "unknown category 5 in entry 0"),
    ],
)
def test_another_format_is_an_error_that_names_the_entry(tmp_path, content, match):
    path = tmp_path / "detections.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=match):
        read_coco_results(path, category_ids=(2,))
