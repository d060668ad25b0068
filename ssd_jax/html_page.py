"""A page of HTML that carries its style and its pictures, and needs no network."""

import base64
import io
from collections.abc import Iterable
from html import escape

from matplotlib.figure import Figure

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1400px; padding: 0 1em }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em }
img { max-width: 100%; display: block; margin: 1em 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
caption { text-align: left; font-weight: 600; padding: .3em 0 }
th, td { padding: .25em .7em; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child { text-align: left }
"""


def page(title: str, body: Iterable[str], *, style: str = "", script: str = "") -> str:
    """Returns the text of a page of some elements of HTML; empty ones are left out.

    The title is plain text; the style adds rules of CSS, and the script runs at the page's end.
    """
    elements = "\n".join(filter(None, body))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}{style}</style></head>\n<body>\n"
        f"{elements}\n<script>{script}</script>\n</body></html>\n"
    )


def table(
    headings: Iterable[str], rows: Iterable[str], *, kind: str = "", caption: str = ""
) -> str:
    """Returns a table of the class `kind` from its headings, plain text, and its rows, HTML."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    caption = caption and f"<caption>{escape(caption)}</caption>"
    return (
        f'<table class="{kind}">{caption}<thead><tr>{head}</tr></thead>\n'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def png(figure: Figure) -> bytes:
    """Returns a figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def picture(figure: Figure, description: str) -> str:
    """Returns a figure as an element of a page."""
    data = base64.b64encode(png(figure)).decode()
    return f'<img alt="{escape(description)}" src="data:image/png;base64,{data}">'
