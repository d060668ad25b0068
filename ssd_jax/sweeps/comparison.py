"""The scores of finished runs by setting: means and spreads over their seeds."""

import dataclasses
import json
import pathlib
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ssd_jax import config
from ssd_jax.coverage.tables import fraction

SCORES = ("mAP", "AP", "AP50", "APs", "APm", "APl")


class Score(NamedTuple):
    """One figure of a setting over its seeds."""

    mean: float
    spread: float | None  # the sample's standard deviation; None for a single run

    def __str__(self) -> str:
        """Returns it as in a table: '.812 ± .004'."""
        mean = fraction(self.mean)
        return mean if self.spread is None else f"{mean} ± {fraction(self.spread)}"


class Row(NamedTuple):
    """A setting: runs that differ in nothing but their seeds."""

    name: str
    seeds: tuple[int, ...]
    metrics: tuple[dict[str, Any], ...]  # the metrics.json of each seed's run
    scores: dict[str, Score | None]  # by SCORES; None where no run has it
    per_class: dict[str, Score | None]  # VOC07's AP at .5

    def by_seed(self, score: str) -> dict[int, float | None]:
        """Returns the score of each seed's run."""
        pairs = zip(self.seeds, self.metrics, strict=True)
        return {seed: metrics.get(score) for seed, metrics in pairs}


def compare(workdirs: Sequence[pathlib.Path]) -> list[Row]:
    """Returns a row for every setting among some runs, in the order of their first.

    A setting is called by its `config.name`, to which settings that share one add the fields in
    which they differ.

    Raises:
        ValueError: for a folder that is not the workdir of an evaluated run.
    """
    groups: dict[config.Experiment, list[tuple[int, dict[str, Any]]]] = {}
    for workdir in workdirs:
        experiment = config.load(workdir / config.FILE)
        path = workdir / "evaluation" / "metrics.json"
        if not path.exists():
            raise ValueError(f"{workdir}: no evaluation/metrics.json; is the run finished?")
        run = (experiment.train.seed, json.loads(path.read_text()))
        groups.setdefault(_setting(experiment), []).append(run)
    rows = []
    for setting, runs in groups.items():
        seeds, found = zip(*runs, strict=True)
        classes = dict.fromkeys(label for metrics in found for label in metrics["per_class"])
        scores = {score: _over_seeds(m.get(score) for m in found) for score in SCORES}
        per_class = {label: _over_seeds(_class_ap(m, label) for m in found) for label in classes}
        rows.append(Row(_label(setting, [*groups]), seeds, found, scores, per_class))
    return rows


def _setting(experiment: config.Experiment) -> config.Experiment:
    """Returns what a config has in common with those of other seeds and other machines."""
    train = dataclasses.replace(experiment.train, seed=0)
    data = dataclasses.replace(experiment.data, data_dir="", num_workers=0)
    return dataclasses.replace(experiment, train=train, data=data)


def _label(setting: config.Experiment, settings: Sequence[config.Experiment]) -> str:
    namesakes = [other for other in settings if other.name == setting.name]
    fields: dict[str, Any] = {}
    for other in namesakes:
        fields |= {k: new for k, (_, new) in config.differences(other, setting).items()}
    different = ", ".join(f"{name}={value}" for name, value in fields.items())
    return f"{setting.name} ({different})" if different else setting.name


def _class_ap(metrics: dict[str, Any], label: str) -> float | None:
    return metrics["per_class"].get(label, {}).get("AP_11point")


def _over_seeds(values: Iterable[float | None]) -> Score | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Score(statistics.mean(known), statistics.stdev(known) if len(known) > 1 else None)
