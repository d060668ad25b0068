import csv
import math

import pytest
import sweep_runs

from ssd_jax import sweeps
from ssd_jax.sweeps import results
from ssd_jax.sweeps.folder import SweepFolder


@pytest.fixture
def folder(tmp_path):
    return SweepFolder(tmp_path)


def collect(folder, made, coverage=None):
    return results.collect(folder, sweep_runs.progress(folder, made), coverage)


def scales(seeds=2):
    grid = sweeps.grid({"config.anchors.s_min": (0.1, 0.2, 0.3)})
    return sweep_runs.plan(*sweeps.product(grid, sweeps.seeds(seeds)))


def test_a_row_for_each_setting(folder):
    made = scales()
    for trial, score in zip(made, (0.5, 0.54, 0.56, 0.6, 0.3, 0.4), strict=True):
        sweep_runs.write(folder, trial, score, small=score / 4)
    found = collect(folder, made)
    assert found.fields == ("config.anchors.s_min",)
    assert [one.name for one in found.settings] == ["s_min=0.1", "s_min=0.2", "s_min=0.3"]
    first = found.settings[0]
    assert first.values == {"config.anchors.s_min": 0.1}
    assert first.by_seed == {0: 0.5, 1: 0.54}
    # Half the difference of two values times sqrt 2 is their deviation.
    assert first.score.mean == pytest.approx(0.52)
    assert first.score.spread == pytest.approx(0.02 * 2**0.5)
    assert first.scores["APs"].mean == pytest.approx(0.13)
    assert found.best.name == "s_min=0.2"


def test_differences_below_the_spread_are_marked(folder):
    made = scales()
    for trial, score in zip(made, (0.5, 0.54, 0.56, 0.6, 0.3, 0.4), strict=True):
        sweep_runs.write(folder, trial, score)
    found = collect(folder, made)
    # Variances 8e-4, 8e-4 and 50e-4, one degree of freedom each: the root of 22e-4.
    assert found.spread == pytest.approx(math.sqrt(22e-4))
    # .58 - .52 = .06 is more than .0469, and so is .58 - .35.
    assert [found.like_the_best(one) for one in found.settings] == [False] * 3
    sweep_runs.write(folder, made[1], 0.6)  # .58 - .55 = .03; 50e-4, 8e-4, 50e-4: .06 at most
    found = collect(folder, made)
    assert [found.like_the_best(one) for one in found.settings] == [True, False, False]


def test_one_seed_says_nothing_of_chance(folder):
    made = scales(seeds=1)
    for trial in made:
        sweep_runs.write(folder, trial, 0.5)
    found = collect(folder, made)
    assert found.spread is None
    assert not any(map(found.like_the_best, found.settings))
    assert found.best.score.spread is None


def test_unfinished_and_failed_trials_have_no_score(folder):
    made = scales()
    sweep_runs.write(folder, made[0], 0.5)
    folder.update_record(made[1], failed="no memory")
    found = collect(folder, made)
    assert [one.score and one.score.mean for one in found.settings] == [0.5, None, None]
    assert [run.state for run in found.settings[0].progress] == ["finished", "failed"]
    assert found.scored == [found.best]
    assert collect(SweepFolder(folder.root / "none"), made).best is None


def correlation(folder, scores, covered):
    made = scales(seeds=1)
    for trial, score in zip(made, scores, strict=True):
        sweep_runs.write(folder, trial, score)
    found = {t.setting: {"covered": c} for t, c in zip(made, covered, strict=True)}
    return results.rank_correlation(collect(folder, made, found))


def test_rank_correlation_by_hand(folder):
    assert correlation(folder, (0.1, 0.2, 0.9), (0.3, 0.31, 0.32)) == pytest.approx(1)
    # Ranks 1 2 3 and 2 1 3: 1 - 6 (1 + 1 + 0) / (3 * 8) = .5.
    assert correlation(folder, (0.1, 0.2, 0.9), (0.4, 0.3, 0.5)) == pytest.approx(0.5)
    assert correlation(folder, (0.1, 0.2, 0.9), (0.4, 0.4, 0.4)) is None
    assert correlation(folder, (0.1, 0.2, 0.9), (0.4, 0.4, math.nan)) is None


def test_the_table(folder):
    made = scales()
    for trial, score in zip(made[:2], (0.5, 0.54), strict=True):
        sweep_runs.write(folder, trial, score)
    found = collect(folder, made, {"s_min=0.1": {"covered": 0.75, "positives": 2.0}})
    results.write_csv(found, folder.root / "results.csv")
    with (folder.root / "results.csv").open() as file:
        first, *others = csv.DictReader(file)
    assert first["setting"] == "s_min=0.1"
    assert first["config.anchors.s_min"] == "0.1"
    assert first["mAP"] == "0.52"
    assert float(first["mAP_spread"]) == pytest.approx(0.02 * 2**0.5, rel=1e-5)
    assert first["mAP_by_seed"] == "0: 0.5; 1: 0.54"
    assert (first["covered"], first["covered_small"], first["positives"]) == ("0.75", "", "2")
    assert first["like_the_best"] == "best"
    assert first["APs"] == ""  # no small object: None in every run
    assert [row["mAP"] for row in others] == ["", ""]
    assert [row["finished"] for row in others] == ["0", "0"]
