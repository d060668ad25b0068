import json
import logging

import sweep_runs

from ssd_jax import sweeps
from ssd_jax.coverage import measure
from ssd_jax.sweeps import anchor_coverage


def plan(shapes_dir, *overrides):
    common = {"config.data.data_dir": str(shapes_dir), "config.model.image_size": (64, 64)}
    return sweep_runs.plan(*overrides, common=common)


def test_each_setting_is_measured_once_and_kept(shapes_dir, tmp_path, monkeypatch):
    scales = sweeps.grid({"config.anchors.s_min": (0.1, 0.3), "config.loss.alpha": (1.0, 2.0)})
    made = plan(shapes_dir, *sweeps.product(scales, sweeps.seeds(2)))
    found = anchor_coverage.of_settings(made, tmp_path)
    assert set(found) == {trial.setting for trial in made}
    assert all(0 < figures["covered"] <= 1 for figures in found.values())
    # Maps of 8, 4, 2 and 1 cells a side, with two squares each.
    assert {figures["anchors"] for figures in found.values()} == {2 * (64 + 16 + 4 + 1)}
    # The weight of a loss changes nothing; the scales do.
    first, same, other, _ = found.values()
    assert first == same != other
    assert len(json.loads((tmp_path / "coverage.json").read_text())) == 2
    monkeypatch.delattr(measure, "measure")
    assert anchor_coverage.of_settings(made, tmp_path) == found


def test_anchors_that_cannot_be_made_are_left_out(shapes_dir, tmp_path, caplog):
    made = plan(shapes_dir, {"config.anchors.s_min": 0.9}, {})
    with caplog.at_level(logging.WARNING):
        found = anchor_coverage.of_settings(made, tmp_path)
    assert list(found) == ["base"]
    assert "No coverage of s_min=0.9" in caplog.text


def test_anchors_across_the_border_cover_nothing_where_they_are_not_trained(shapes_dir, tmp_path):
    made = plan(shapes_dir, {}, {"config.loss.border_anchors": False})
    every, inside = anchor_coverage.of_settings(made, tmp_path).values()
    assert inside["covered"] < every["covered"]
    assert inside["positives"] < every["positives"]
