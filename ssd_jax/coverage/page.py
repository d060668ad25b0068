"""Coverage as one page of HTML."""

from collections.abc import Sequence

from PIL import Image

from ssd_jax import html_page
from ssd_jax.coverage import plots, tables
from ssd_jax.coverage.measure import Coverage
from ssd_jax.html_page import escape
from ssd_jax.text_table import TextTable

_STYLE = ".tables { display: flex; flex-wrap: wrap; gap: .5em 2.5em; align-items: flex-start }"


def page(
    found: Sequence[Coverage],
    *,
    measured_on: str = "picture",
    picture: Image.Image | None = None,
) -> str:
    """Returns the page: all configs side by side, then each on each data set.

    The anchors of a cell are drawn on the picture, or on a blank input. See `measure.size_classes`
    for `measured_on`.
    """
    threshold = ", ".join(f"{x:g}" for x in dict.fromkeys(one.iou_threshold for one in found))
    parts = [
        "<h1>Anchor coverage</h1>",
        f"<p>Matching IoU {threshold}. {escape(tables.EXPLANATION)}</p>",
        *map(_table, tables.side_by_side(found, measured_on)),
    ]
    for one in found:
        details = "\n".join(map(_table, tables.details(one, measured_on)))
        parts += [
            f"<h2>{escape(one.name)} on {escape(one.data)}</h2>",
            html_page.picture(plots.overview(one), "covered sizes, maps and best IoU"),
            html_page.picture(plots.cells(one.spec, picture), "anchors of one cell of each map"),
            f'<div class="tables">{details}</div>',
        ]
    return html_page.page("Anchor coverage", parts, style=_STYLE)


def _table(table: TextTable) -> str:
    rows = (
        "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>\n"
        for row in table.rows
    )
    return html_page.table(table.headings, rows, caption=table.title)
