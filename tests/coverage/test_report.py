import json

import numpy as np
import pytest

from configs import quickstart
from ssd_jax import config
from ssd_jax.coverage import annotations
from ssd_jax.coverage.clusters_report import clusters_report
from ssd_jax.coverage.report import report


def box_set(boxes):
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    image = annotations.ImageBoxes("a", boxes, np.ones(len(boxes), np.int32), (128, 128))
    return annotations.BoxSet("made", ("cat",), (image,), 0)


DATA = box_set([[0.1, 0.1, 0.3, 0.3], [0.2, 0.2, 0.9, 0.8], [0.5, 0.1, 0.9, 0.3]])


def experiment(**changes):
    values = quickstart.get_config().to_dict()
    config.override(values, {f"config.{path}": value for path, value in changes.items()})
    return config.resolve(values)


def names(folder):
    return [one["config"] for one in json.loads((folder / "coverage.json").read_text())]


def test_one_config_has_its_details_and_several_stand_in_rows(tmp_path):
    tables = report([experiment()], [DATA], tmp_path)
    assert len(tables) == 6  # the whole; by size, aspect, class and map; the maps' anchors
    assert names(tmp_path) == ["quickstart"]
    assert (tmp_path / "coverage.html").read_text().startswith("<!")
    [table] = report([experiment(), experiment(name="other")], [DATA], tmp_path)
    assert table.row_count == 2


def test_configs_of_one_name_say_what_they_have_changed(tmp_path):
    changed = experiment(**{"anchors.s_min": 0.1, "train.steps": 3})
    report([experiment(), changed, experiment(**{"train.steps": 3})], [DATA], tmp_path)
    assert names(tmp_path) == [
        *("quickstart", "quickstart (anchors.s_min)", "quickstart (the same)"),
    ]


def test_clusters_are_a_table_and_a_page():
    table, page = clusters_report(DATA, (128, 128), 20)
    assert table.row_count == 3  # of three different boxes
    assert "3 boxes of made on 128 x 128" in str(table.title)
    assert len(page.axes) >= 4
    with pytest.raises(ValueError, match="made has no boxes"):
        clusters_report(box_set([[0.1, 0.1, 0.1, 0.5]]), (128, 128), 20)
