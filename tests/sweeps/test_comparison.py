import json

import pytest

from ssd_jax import config
from ssd_jax.sweeps import comparison


def run(folder, name, seed, metrics, **fields):
    experiment = config.Experiment(name=name, train=config.Train(seed=seed), **fields)
    (folder / "evaluation").mkdir(parents=True)
    config.save(experiment, folder / config.FILE)
    if metrics is not None:
        (folder / "evaluation" / "metrics.json").write_text(json.dumps(metrics))
    return folder


def scores(mean_ap, cat):
    per_class = {"cat": {"AP_11point": cat}}
    return {"mAP": mean_ap, "AP": 0.25, "APs": None, "per_class": per_class}


def test_runs_of_a_config_are_one_row(tmp_path):
    rows = comparison.compare(
        [
            run(tmp_path / "a0", "a", 0, scores(0.5, 0.4)),
            run(tmp_path / "b0", "b", 0, scores(0.125, None)),
            run(tmp_path / "a1", "a", 1, scores(0.7, 0.6)),
        ]
    )
    assert [(row.name, row.seeds) for row in rows] == [("a", (0, 1)), ("b", (0,))]
    first, second = rows
    # The mean of .5 and .7, and the deviation of two values: half their difference times sqrt 2.
    assert first.scores["mAP"].mean == pytest.approx(0.6)
    assert first.scores["mAP"].spread == pytest.approx(0.1 * 2**0.5)
    assert str(first.scores["mAP"]) == ".600 ± .141"
    assert first.scores["AP"].spread == 0
    assert first.scores["APs"] is None
    assert str(first.per_class["cat"]) == ".500 ± .141"
    assert second.scores["mAP"] == comparison.Score(0.125, None)
    assert str(second.scores["mAP"]) == ".125"
    assert second.per_class["cat"] is None


def test_a_run_that_is_not_finished_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"half: no evaluation/metrics\.json"):
        comparison.compare([run(tmp_path / "half", "a", 0, None)])
    with pytest.raises(ValueError, match=r"is this the workdir of a run"):
        comparison.compare([tmp_path])


def test_settings_of_one_name_are_told_apart(tmp_path):
    sharp, plain = config.Multibox(alpha=2.0), config.Multibox()
    rows = comparison.compare(
        [
            run(tmp_path / "a", "a", 0, scores(0.5, 0.4), loss=plain),
            run(tmp_path / "b", "a", 0, scores(0.3, 0.4), loss=sharp),
            run(tmp_path / "c", "a", 1, scores(0.6, 0.4), loss=plain),
        ]
    )
    assert [(row.name, row.seeds) for row in rows] == [
        ("a (loss.alpha=1.0)", (0, 1)),
        ("a (loss.alpha=2.0)", (0,)),
    ]
