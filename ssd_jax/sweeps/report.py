"""report.html of a sweep: one file that needs nothing else, for one trial or for hundreds."""

import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

from ssd_jax import html_page
from ssd_jax.html_page import escape
from ssd_jax.sweeps import plots
from ssd_jax.sweeps.comparison import Score
from ssd_jax.sweeps.folder import Progress, counted
from ssd_jax.sweeps.results import COVERAGE, CRITERION, SCORES, Results, rank_correlation

# The most letters of a value that stands before the scores, and of one that is not cut.
_SHORT_VALUE, _LONGEST_VALUE = 16, 30

_STYLE = """
td { white-space: nowrap }
td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 17em; max-width: 30em }
th { position: sticky; top: 0; background: #fff; cursor: pointer; vertical-align: bottom }
th.sorted::after { content: " \\25be" } th.sorted.up::after { content: " \\25b4" }
tr.best td { background: #fdeee6; font-weight: 600 } tr.like td { background: #f6f6ee }
td.text { text-align: left; white-space: pre-wrap; overflow-wrap: anywhere }
.scroll { overflow-x: auto } .note { color: #555 }
pre { background: #f4f4f4; padding: .7em; white-space: pre-wrap; overflow-wrap: anywhere }
"""

# Sorts by the column that is clicked: numbers as such, empty cells always last.
_SCRIPT = """
document.querySelectorAll("table.sortable").forEach(table => {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => head.addEventListener("click", () => {
    const up = head.classList.contains("sorted") && !head.classList.contains("up");
    heads.forEach(other => other.classList.remove("sorted", "up"));
    head.classList.add("sorted");
    if (up) head.classList.add("up");
    const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const rows = [...body.rows].sort((a, b) => {
      const x = key(a), y = key(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = isNaN(x) || isNaN(y) ? -x.localeCompare(y) : x - y;
      return up ? order : -order;
    });
    body.append(...rows);
  }));
});
"""


def render(
    results: Results,
    progress: Sequence[Progress],
    *,
    title: str,
    command: str,
    best_command: str,
    left: str = "",
    notes: Iterable[str] = (),
) -> str:
    """Returns the page: scores, pictures and failures.

    The commands are those that run the sweep and train its best setting, "" while there is none.
    `left` is the time that the rest takes, to read; `notes` are further sentences.
    """
    summary = f"{len(results.settings)} settings, {len(progress)} trials: {counted(progress)}"
    if left:
        summary += f"; about {left} left"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(summary)}. Written {time.strftime('%Y-%m-%d %H:%M')}.</p>",
        f"<pre>{escape(command)}</pre>",
        *(f'<p class="note">{escape(note)}</p>' for note in notes),
        _best(results, best_command),
        *(html_page.picture(figure, "scores by setting") for figure in plots.draw(results)),
        _correlations(results),
        "<h2>Settings</h2>",
        _spread_note(results),
        _settings(results),
        _failures(progress),
    ]
    return html_page.page(title, parts, style=_STYLE, script=_SCRIPT)


def _best(results: Results, command: str) -> str:
    if results.best is None:
        return "<p>No trial is finished yet.</p>"
    like = sum(map(results.like_the_best, results.settings))
    others = f"; {like} more within the seeds' spread of it" if like else ""
    seeds = len(results.best.by_seed)
    return (
        f"<h2>Best so far</h2><p><b>{escape(results.best.name)}</b>: {CRITERION} "
        f"{escape(str(results.best.score))} over {seeds} seed{'s' * (seeds > 1)}{others}.</p>"
        f"<pre>{escape(command)}</pre>"
    )


def _correlations(results: Results) -> str:
    found = {name: rank_correlation(results, name) for name in COVERAGE}
    known = [f"{name} {value:+.2f}" for name, value in found.items() if value is not None]
    if not known:
        return ""
    return (
        f"<p>Rank correlation (Spearman) of {CRITERION} over settings with what is known of the "
        f"anchors before training: {escape(', '.join(known))}.</p>"
    )


def _spread_note(results: Results) -> str:
    if results.spread is None:
        return (
            '<p class="note">No setting has two finished seeds, so no difference here can be told '
            "from chance.</p>"
        )
    return (
        f'<p class="note">≈: below the best by less than the seeds\' spread, {results.spread:.3f}, '
        f"the standard deviation of {CRITERION} over seeds, pooled over settings. ± is each "
        "setting's own. Click a heading to sort.</p>"
    )


def _settings(results: Results) -> str:
    # Fields with long values, of which a named setting has many, stand behind the scores.
    long = [path for path in results.fields if _is_long(results, path)]
    short = [path for path in results.fields if path not in long]
    heads = ["setting", *(path.removeprefix("config.") for path in short)]
    heads += ["seeds", *SCORES, "", *(name.replace("_", " ") for name in COVERAGE)]
    heads += [path.removeprefix("config.") for path in long]
    rows = []
    ranked = sorted(results.settings, key=lambda one: -one.score.mean if one.score else math.inf)
    for one in ranked:
        mark = results.mark(one)
        cells = [_cell(one.name), *(_value(one.values[path]) for path in short)]
        cells += [_cell(f"{len(one.by_seed)}/{len(one.progress)}", len(one.by_seed))]
        cells += [_score(one.scores.get(name)) for name in SCORES]
        cells += [_cell(mark)]
        cells += [_figure(one.coverage.get(name)) for name in COVERAGE]
        cells += [_value(one.values[path]) for path in long]
        rows.append(f'<tr class="{mark.replace("≈", "like")}">{"".join(cells)}</tr>')
    return f'<div class="scroll">{html_page.table(heads, rows, kind="sortable")}</div>'


def _failures(progress: Sequence[Progress]) -> str:
    failed = [one for one in progress if one.state == "failed"]
    if not failed:
        return ""
    rows = (
        f"<tr>{_cell(one.trial.name)}{_cell(f'{one.step}/{one.steps}', one.step)}"
        f'<td class="text">{escape(one.reason)}</td></tr>'
        for one in failed
    )
    table = html_page.table(("trial", "step", "reason"), rows)
    return f"<h2>Failed trials: {len(failed)}</h2>{table}"


def _is_long(results: Results, path: str) -> bool:
    return max(len(str(one.values[path])) for one in results.settings) > _SHORT_VALUE


def _value(value: Any) -> str:
    """Returns the cell of a value; a long one is cut, and whole where the mouse rests on it."""
    text = str(value)
    if len(text) <= _LONGEST_VALUE:
        return _cell(text)
    return f'<td title="{escape(text)}">{escape(text[: _LONGEST_VALUE - 3])}...</td>'


def _score(score: Score | None) -> str:
    return _cell("") if score is None else _cell(str(score), score.mean)


def _figure(value: float | None) -> str:
    if value is None or math.isnan(value):
        return _cell("")
    return _cell(f"{value:.0f}" if value >= 100 else f"{value:.3f}", value)


def _cell(shown: Any, value: float | None = None) -> str:
    data = "" if value is None else f' data-value="{value:.9g}"'
    return f"<td{data}>{escape(str(shown))}</td>"
