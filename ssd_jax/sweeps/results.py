"""The scores of a sweep's settings: a row each, with means and spreads over their seeds."""

import csv
import math
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from scipy import stats

from ssd_jax.sweeps import comparison
from ssd_jax.sweeps.comparison import Score
from ssd_jax.sweeps.folder import Progress, SweepFolder
from ssd_jax.sweeps.overrides import SEED
from ssd_jax.sweeps.plan import NAME, Trial, value_of

# The score that settings are ranked by.
CRITERION = "mAP"
SCORES = ("mAP", "AP", "APs", "APm", "APl")
# The figures of `coverage.measure` that are shown, and the number of anchors.
COVERAGE = (
    *("covered", "covered_small", "covered_medium", "covered_large"),
    *("best_iou", "positives", "anchors"),
)


class Setting(NamedTuple):
    """Trials that differ in nothing but their seeds."""

    name: str
    values: Mapping[str, Any]  # of the fields that the sweep varies
    progress: tuple[Progress, ...]  # of its trials
    scores: Mapping[str, Score | None]  # over the finished trials; {} without any
    by_seed: Mapping[int, float | None]  # CRITERION of the finished trials
    coverage: Mapping[str, float]  # {} where it is unknown

    @property
    def trial(self) -> Trial:
        """The first of the trials."""
        return self.progress[0].trial

    @property
    def score(self) -> Score | None:
        """The score by CRITERION."""
        return self.scores.get(CRITERION)


class Results(NamedTuple):
    """The settings of a sweep, and how they compare."""

    fields: tuple[str, ...]  # that the sweep varies, besides the seed and the name
    settings: tuple[Setting, ...]
    best: Setting | None
    # The standard deviation over seeds, pooled over settings; None where no setting has two.
    spread: float | None

    @property
    def scored(self) -> list[Setting]:
        """The settings that have a score."""
        return [one for one in self.settings if one.score is not None]

    def like_the_best(self, setting: Setting) -> bool:
        """Returns whether a setting differs from the best by less than the seeds' spread."""
        if self.best is None or self.spread is None or not setting.score or not self.best.score:
            return False
        return setting is not self.best and (
            self.best.score.mean - setting.score.mean < self.spread
        )

    def mark(self, setting: Setting) -> str:
        """Returns "best", "≈" for a setting that is like the best, or ""."""
        return "best" if setting is self.best else "≈" if self.like_the_best(setting) else ""


def collect(
    folder: SweepFolder,
    progress: Sequence[Progress],
    coverage: Mapping[str, Mapping[str, float]] | None = None,
) -> Results:
    """Returns the scores of a sweep so far, with the coverage of settings by their names."""
    groups: dict[str, list[Progress]] = {}
    for one in progress:
        groups.setdefault(one.trial.setting, []).append(one)
    fields = _varied([group[0].trial for group in groups.values()])
    settings = []
    for name, group in groups.items():
        runs = [one for one in group if one.state == "finished"]
        [row] = comparison.compare([folder.workdir(one.trial) for one in runs]) or [None]
        settings.append(
            Setting(
                name=name,
                values={path: value_of(group[0].trial.experiment, path) for path in fields},
                progress=tuple(group),
                scores=row.scores if row else {},
                by_seed=row.by_seed(CRITERION) if row else {},
                coverage=(coverage or {}).get(name, {}),
            )
        )
    found = Results(fields, tuple(settings), best=None, spread=_pooled(settings))
    return found._replace(best=max(found.scored, key=lambda one: one.score.mean, default=None))


def _varied(trials: Sequence[Trial]) -> tuple[str, ...]:
    """Returns the fields that have more than one value, in the order of their first."""
    paths = dict.fromkeys(path for trial in trials for path in trial.overrides)
    return tuple(
        path
        for path in paths
        if path not in (SEED, NAME)
        and len({repr(value_of(t.experiment, path)) for t in trials}) > 1
    )


def _pooled(settings: Sequence[Setting]) -> float | None:
    """Returns the root of the mean variance over seeds, weighted by the degrees of freedom."""
    sums = freedom = 0.0
    for one in settings:
        values = [value for value in one.by_seed.values() if value is not None]
        if len(values) > 1:
            sums += statistics.variance(values) * (len(values) - 1)
            freedom += len(values) - 1
    return math.sqrt(sums / freedom) if freedom else None


def rank_correlation(results: Results, figure: str = "covered") -> float | None:
    """Returns Spearman's rank correlation of a figure of coverage and CRITERION over settings.

    None for fewer than three settings that have both, or where all are alike in one of them.
    """
    pairs = [
        (one.coverage[figure], one.score.mean)
        for one in results.scored
        if one.score and math.isfinite(one.coverage.get(figure, math.nan))
    ]
    if len(pairs) < 3 or any(len(set(values)) < 2 for values in zip(*pairs, strict=True)):
        return None
    return float(stats.spearmanr(*zip(*pairs, strict=True)).statistic)


def write_csv(results: Results, path: pathlib.Path) -> None:
    """Writes a row for each setting: its fields, its runs, means and spreads, and coverage."""
    rows = []
    for one in results.settings:
        states = [run.state for run in one.progress]
        row = {"setting": one.name, **one.values, "runs": len(states)}
        row |= {state: states.count(state) for state in ("finished", "failed")}
        for name in SCORES:
            mean, spread = one.scores.get(name) or (None, None)
            row |= {name: _number(mean), f"{name}_spread": _number(spread)}
        by_seed = (f"{seed}: {_number(value)}" for seed, value in one.by_seed.items())
        row[f"{CRITERION}_by_seed"] = "; ".join(by_seed)
        row |= {name: _number(one.coverage.get(name)) for name in COVERAGE}
        row["like_the_best"] = results.mark(one).replace("≈", "yes")
        rows.append(row)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.6g}"
