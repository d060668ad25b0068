import dataclasses
import json
import re

import numpy as np
import pytest
from PIL import Image

from configs import quickstart
from ssd_jax import config
from ssd_jax.coverage import annotations, groups, measure, page, plots, tables

# On 128 pixels: a tall cat and a wide one of the whole width, a square dog, and a small one.
BOXES = np.array([[10, 10, 30, 90], [0, 60, 128, 90], [30, 40, 70, 80], [90, 90, 96, 96]])


@pytest.fixture(scope="module")
def measured():
    image = annotations.ImageBoxes(
        "a", (BOXES / 128).astype(np.float32), np.array([1, 1, 2, 2]), (256, 256)
    )
    data = annotations.BoxSet("<made:up:>", ("cat", "dog", "<eel>"), (image,), 0)
    return measure.measure(config.resolve(quickstart.get_config()), data)


def test_each_object_is_in_one_group_of_each_kind(measured):
    found = groups.groups(measured)
    assert set(found) == {"size", "aspect", "class", "map"}
    counts = {division: [row.objects for row in rows] for division, rows in found.items()}
    # On pictures of 256 the sides are doubled: 6400, 15360, 6400 and 144; 96^2 is 9216.
    assert counts["size"] == [1, 2, 1]
    # Width over height: 1/4, 128/30 = 4.27, 1, 1.
    assert counts["aspect"] == [1, 0, 2, 0, 1]
    assert counts["class"] == [2, 2, 0]
    assert sum(counts["map"]) == 4
    # On the input: 1600, 3840, 1600 and 36.
    assert [row.objects for row in groups.groups(measured, "input")["size"]] == [1, 3, 0]
    for rows in found.values():
        covered = sum(row.covered * row.objects for row in rows if row.objects)
        assert covered == pytest.approx(measured.covered.sum())


def test_the_maps_hold_all_anchors(measured):
    rows = groups.maps(measured)
    assert [row.name for row in rows] == ["16 x 16", "8 x 8", "4 x 4", "2 x 2"]
    assert [row.anchors for row in rows] == [512, 128, 32, 8]
    assert sum(row.positives for row in rows) == measured.uses.sum() == measured.positives.sum()


def test_json_has_all_of_it(measured):
    values = json.loads(json.dumps(groups.as_json(measured), allow_nan=False))
    assert values["objects"] == 4
    assert values["groups"]["class"][2] == {
        "name": "<eel>",
        "objects": 0,
        "covered": None,
        "forced": None,
        "best_iou": None,
        "positives": None,
    }
    assert sum(values["best_iou_histogram"]["objects"]) == 4
    of_each = enumerate(values["positives_histogram"])
    assert sum(number * objects for number, objects in of_each) == measured.positives.sum()


def test_the_tables_have_a_row_for_each_config_and_a_table_for_each_data_set(measured):
    other = dataclasses.replace(measured, name="other")
    elsewhere = dataclasses.replace(measured, data="elsewhere")
    first, second = tables.side_by_side([measured, other, elsewhere])
    assert first.title == "<made:up:>: 4 objects of 1 images"
    assert [row[0] for row in first.rows] == ["quickstart", "other"]
    assert [row[0] for row in second.rows] == ["quickstart"]
    assert all(len(row) == len(first.headings) for row in first.rows)
    assert first.rows[0][2] == tables.fraction(measured.covered.mean())
    assert first.terminal().row_count == 2


def test_numbers_as_texts():
    assert tables.fraction(0.8788) == ".879"
    assert tables.fraction(1.0) == "1.000"
    assert tables.fraction(float("nan")) == tables.number(float("nan")) == "-"
    assert tables.number(10.256) == "10.26"


def test_the_page_carries_everything(measured):
    text = page.page([measured, dataclasses.replace(measured, name="a & b")])
    assert text.count('src="data:image/png;base64,') == 4
    assert "&lt;eel&gt;" in text
    assert "<eel>" not in text
    assert "a &amp; b on &lt;made:up:&gt;" in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "http" not in text


def test_the_pictures(measured):
    figure = plots.overview(measured)
    heat_map, by_map, best_iou = figure.axes[:3]
    mesh = heat_map.collections[0].get_array()
    assert mesh.count() == 4  # bins with objects; the others are masked
    assert sum(bar.get_height() for bar in by_map.patches) == 4
    assert sum(bar.get_height() for bar in best_iou.patches) == 4

    panels = plots.cells(measured.spec, Image.new("RGB", (40, 30), "red")).axes
    assert [axes.get_title() for axes in panels] == [
        f"{n} x {n}: 2 in a cell" for n in (16, 8, 4, 2)
    ]
    # The input's outline and the two squares; of the middle cell of 16 x 16, number 8 of cells of 8
    # pixels, at 8.5 * 8 = 68.
    outline, first, _ = panels[0].patches
    assert outline.get_width() == 128
    assert first.get_x() + first.get_width() / 2 == pytest.approx(68, abs=1e-4)
    assert len(panels[0].images) == 1
    assert not plots.cells(measured.spec).axes[0].images
