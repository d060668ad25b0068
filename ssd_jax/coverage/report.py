"""A coverage report: measurements, tables, coverage.json and coverage.html."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence

import rich.table
from PIL import Image

from ssd_jax import config
from ssd_jax.coverage import groups, measure, page, tables
from ssd_jax.coverage.annotations import BoxSet
from ssd_jax.data import records

# The groups of a config that coverage depends on.
_COUNTING_GROUPS = ("model.", "anchors.", "loss.")


def report(
    experiments: Sequence[config.Experiment],
    data: Sequence[BoxSet],
    folder: pathlib.Path,
    *,
    measured_on: str = "picture",
    source: records.Source | None = None,
) -> list[rich.table.Table]:
    """Measures configs on data sets, writes coverage.json and coverage.html, and returns tables.

    Args:
        experiments: the configs; those that share a name are told apart by what they change.
        data: the boxes of each data set.
        folder: where the files are written.
        measured_on: where sizes are measured; see `measure.size_classes`.
        source: a data set whose first picture shows the cells.
    """
    told_apart = _told_apart(experiments)
    found = [measure.measure(one, boxes) for boxes in data for one in told_apart]
    shown = tables.side_by_side(found, measured_on)
    if len(found) == 1:
        shown += tables.details(found[0], measured_on)
    values = [groups.as_json(one, measured_on) for one in found]
    (folder / "coverage.json").write_text(json.dumps(values, indent=1) + "\n")
    picture = None
    if source is not None:
        picture = Image.fromarray(source[0].decode())
    text = page.page(found, measured_on=measured_on, picture=picture)
    (folder / "coverage.html").write_text(text)
    return [table.terminal() for table in shown]


def _told_apart(experiments: Sequence[config.Experiment]) -> list[config.Experiment]:
    named: list[config.Experiment] = []
    for one in experiments:
        namesakes = [other for other in experiments[: len(named)] if other.name == one.name]
        if namesakes:
            fields = config.differences(namesakes[0], one)
            changed = [field for field in fields if field.startswith(_COUNTING_GROUPS)]
            one = dataclasses.replace(one, name=f"{one.name} ({', '.join(changed) or 'the same'})")
        named.append(one)
    return named
