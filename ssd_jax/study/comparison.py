"""What finished runs scored, by setting: means and spreads over their seeds."""

import json
import pathlib
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from ssd_jax import config

SCORES = ("mAP", "AP", "AP50", "APs", "APm", "APl")


class Score(NamedTuple):
    """One figure of a setting over its seeds."""

    mean: float
    spread: float | None  # the sample's standard deviation; None of a single run

    def __str__(self) -> str:
        """As in a table: '.812 +- .004'."""
        text = f"{self.mean:.3f}".replace("0.", ".", 1)
        if self.spread is None:
            return text
        return f"{text} ± {self.spread:.3f}".replace("± 0.", "± .")


class Row(NamedTuple):
    """A setting: the runs of one config that differ in their seeds."""

    name: str
    seeds: tuple[int, ...]
    scores: dict[str, Score | None]  # by SCORES; None where no run has it
    per_class: dict[str, Score | None]  # VOC07's AP at .5


def compare(workdirs: Sequence[pathlib.Path]) -> list[Row]:
    """Returns a row for every setting among some runs, in the order of their first.

    Runs of one `config.name` are one setting.

    Raises:
      ValueError: for a folder that is not the workdir of an evaluated run.
    """
    groups: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for workdir in workdirs:
        experiment = config.load(workdir / config.FILE)
        path = workdir / "evaluation" / "metrics.json"
        if not path.exists():
            raise ValueError(f"{workdir}: no evaluation/metrics.json; is the run finished?")
        metrics = json.loads(path.read_text())
        groups.setdefault(experiment.name, []).append((experiment.train.seed, metrics))
    rows = []
    for name, runs in groups.items():
        found = [metrics for _, metrics in runs]
        classes = dict.fromkeys(label for metrics in found for label in metrics["per_class"])
        rows.append(
            Row(
                name=name,
                seeds=tuple(seed for seed, _ in runs),
                scores={score: _over_seeds([m.get(score) for m in found]) for score in SCORES},
                per_class={
                    label: _over_seeds([_class_ap(m, label) for m in found]) for label in classes
                },
            )
        )
    return rows


def _class_ap(metrics: dict[str, Any], label: str) -> float | None:
    return metrics["per_class"].get(label, {}).get("AP_11point")


def _over_seeds(values: Sequence[float | None]) -> Score | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Score(statistics.mean(known), statistics.stdev(known) if len(known) > 1 else None)
