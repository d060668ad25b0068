"""Coverage as one page of HTML that carries its pictures and needs no network."""

import base64
import html
import io
from collections.abc import Sequence

from matplotlib.figure import Figure
from PIL import Image

from ssd_jax.coverage import plots, tables
from ssd_jax.coverage.measure import Coverage
from ssd_jax.coverage.tables import TextTable

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #30363d; margin: 2rem auto; max-width: 76rem;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
img { max-width: 100%; display: block; margin: .5rem 0; }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { padding: .15rem .7rem; text-align: right; border-bottom: 1px solid #e6e9ed; }
th:first-child, td:first-child { text-align: left; }
.tables { display: flex; flex-wrap: wrap; gap: .5rem 2.5rem; align-items: flex-start; }
"""


def page(
    found: Sequence[Coverage],
    *,
    measured_on: str = "picture",
    picture: Image.Image | None = None,
) -> str:
    """Returns the page: all configs side by side, then each on each data set.

    Args:
        found: at least one.
        measured_on: where sizes are measured; see `coverage.size_classes`.
        picture: to draw the anchors of a cell on; None: a blank input.
    """
    threshold = ", ".join(f"{x:g}" for x in dict.fromkeys(one.iou_threshold for one in found))
    parts = [
        "<h1>Anchor coverage</h1>",
        f"<p>Matching IoU {threshold}. {html.escape(tables.EXPLANATION)}</p>",
        *map(_table, tables.side_by_side(found, measured_on)),
    ]
    for one in found:
        parts.append(f"<h2>{html.escape(one.name)} on {html.escape(one.data)}</h2>")
        parts.append(_image(plots.overview(one), "covered sizes, maps and best IoU"))
        parts.append(_image(plots.cells(one.spec, picture), "anchors of one cell of each map"))
        details = "".join(map(_table, tables.details(one, measured_on)))
        parts.append(f'<div class="tables">{details}</div>')
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Anchor coverage</title>'
        f"\n<style>{_STYLE}</style>\n{body}\n</html>\n"
    )


def _table(table: TextTable) -> str:
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in table.headings)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>\n"
        for row in table.rows
    )
    caption = html.escape(table.title)
    return f"<table><caption>{caption}</caption>\n<tr>{head}</tr>\n{rows}</table>\n"


def _image(figure: Figure, alternative: str) -> str:
    encoded = io.BytesIO()
    figure.savefig(encoded, format="png", dpi=100)
    data = base64.b64encode(encoded.getvalue()).decode()
    return f'<img alt="{html.escape(alternative)}" src="data:image/png;base64,{data}">'
