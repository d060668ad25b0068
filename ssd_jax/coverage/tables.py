"""Coverage as tables: texts in rows, for a terminal and for a page alike."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ssd_jax.coverage import groups
from ssd_jax.coverage.measure import Coverage
from ssd_jax.text_table import TextTable

EXPLANATION = (
    "covered: share of objects with an anchor at the matching IoU; forced: matched only by the "
    "bipartite rule; best IoU: mean of the objects' largest; positives: mean number of anchors "
    "trained towards an object; unused: share of anchors that no object is matched with; crossing: "
    "share of anchors that reach over the border."
)


def side_by_side(found: Sequence[Coverage], measured_on: str = "picture") -> list[TextTable]:
    """Returns a table for each data set, with a row for each config, in the order given."""
    headings = (
        *("config", "anchors", "covered", "small", "medium", "large"),
        *("forced", "best IoU", "positives", "unused", "crossing"),
    )
    tables = []
    for data in dict.fromkeys(one.data for one in found):
        same = [one for one in found if one.data == data]
        rows = []
        for one in same:
            figures = one.figures(measured_on)
            del figures["unmatched"]
            rows.append(_texts({"config": one.name, "anchors": one.spec.num_anchors, **figures}))
        title = f"{data}: {len(same[0].labels):,} objects of {same[0].num_images:,} images"
        tables.append(TextTable(title, headings, rows))
    return tables


def details(coverage: Coverage, measured_on: str = "picture") -> list[TextTable]:
    """Returns the tables by size, aspect, class and map, and one of the maps' anchors."""
    where = "pixels of the picture" if measured_on == "picture" else "pixels of the input"
    titles = {
        "size": f"by size, {where} (32 x 32, 96 x 96)",
        "aspect": "by aspect on the input",
        "class": "by class",
        "map": "by the map of the best matched anchor",
    }
    headings = ("", "objects", "covered", "forced", "best IoU", "positives")
    tables = [
        TextTable(titles[division], headings, [_texts(row._asdict()) for row in rows])
        for division, rows in groups.groups(coverage, measured_on).items()
    ]
    headings = ("map", "anchors", "unused", "crossing", "matches")
    rows = [_texts(row._asdict()) for row in groups.maps(coverage)]
    return [*tables, TextTable("the anchors of each map", headings, rows)]


def fraction(value: float) -> str:
    """Returns ".879", or a dash for nan."""
    return "-" if math.isnan(value) else f"{value:.3f}".replace("0.", ".", 1)


def number(value: float) -> str:
    """Returns "8.06", or a dash for nan."""
    return "-" if math.isnan(value) else f"{value:.2f}"


def _texts(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the values of a row by their names: texts, counts, shares, and a mean of counts."""

    def text(name: str, value: Any) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, int):
            return f"{value:,}"
        return number(value) if name == "positives" else fraction(value)

    return tuple(text(name, value) for name, value in row.items())
