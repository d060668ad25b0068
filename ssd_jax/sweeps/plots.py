"""Figures of a sweep: a heat map, a line or points with error bars, whichever fits its fields."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssd_jax.sweeps.plan import NAME
from ssd_jax.sweeps.results import CRITERION, Results, Setting, rank_correlation

_COLOUR, _BEST = "#1f5fa8", "#c8501e"
_MOST_NAMES = 60  # of settings below each other


def draw(results: Results) -> list[Figure]:
    """Returns the figures of a sweep; none before a setting has scored.

    Two fields whose combinations are settings, most of them at least, make a heat map. One field of
    numbers makes a line with error bars, and more make points over each. Otherwise the settings
    stand by name. The scores over coverage follow where there is a rank correlation.
    """
    if not results.scored:
        return []
    named = any(NAME in one.trial.overrides for one in results.settings)
    if named or not results.fields:
        figures = [_by_name(results)]
    elif len(results.fields) == 2 and _is_grid(results):
        figures = [_heat_map(results)]
    elif all(_is_numeric(results, path) for path in results.fields):
        figures = [_over_fields(results)]
    else:
        figures = [_by_name(results)]
    if rank_correlation(results) is not None:
        figures.append(_over_coverage(results))
    return figures


def _is_numeric(results: Results, path: str) -> bool:
    values = [one.values[path] for one in results.settings]
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _is_grid(results: Results) -> bool:
    """Returns whether at least half of the fields' combinations are settings."""
    sides = [_ticks(results, path) for path in results.fields]
    return len(results.settings) * 2 >= math.prod(map(len, sides)) and min(map(len, sides)) > 1


def _ticks(results: Results, path: str) -> list[Any]:
    values = [one.values[path] for one in results.settings]
    different = [v for i, v in enumerate(values) if v not in values[:i]]
    return sorted(different) if _is_numeric(results, path) else different


def _heat_map(results: Results) -> Figure:
    vertical, horizontal = results.fields
    rows, columns = _ticks(results, vertical), _ticks(results, horizontal)
    figure = Figure(figsize=(2.6 + 1.1 * len(columns), 1.6 + 0.6 * len(rows)), layout="constrained")
    axes = figure.subplots()
    values = np.full((len(rows), len(columns)), np.nan)
    placed = {}
    for one in results.settings:
        place = rows.index(one.values[vertical]), columns.index(one.values[horizontal])
        placed[place] = one
        if one.score:
            values[place] = one.score.mean
    image = axes.imshow(values, cmap="viridis", aspect="auto")
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    for (row, column), one in placed.items():
        dark = one.score is not None and one.score.mean < middle
        style = {"ha": "center", "va": "center", "fontsize": 8}
        style["color"] = "white" if dark else "black"
        style["fontweight"] = "bold" if one is results.best else "normal"
        axes.text(column, row, _cell(results, one), **style)
    axes.set_xticks(range(len(columns)), list(map(_short, columns)))
    axes.set_yticks(range(len(rows)), list(map(_short, rows)))
    axes.set(xlabel=horizontal, ylabel=vertical)
    figure.colorbar(image, ax=axes, label=CRITERION)
    title = f"{CRITERION}: mean ± spread over seeds; ≈ within the spread of the best"
    axes.set_title(title, fontsize=9)
    return figure


def _cell(results: Results, one: Setting) -> str:
    if one.score is None:
        states = {run.state for run in one.progress}
        return "failed" if states == {"failed"} else "-"
    mean, plus_minus, spread = str(one.score).partition(" ± ")
    text = f"{mean} {results.mark(one)}".rstrip()
    return f"{text}\n± {spread}" if plus_minus else text


def _over_fields(results: Results) -> Figure:
    columns = min(3, len(results.fields))
    rows = math.ceil(len(results.fields) / columns)
    figure = Figure(figsize=(max(6, 4 * columns), 3.5 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    for axes, path in itertools.zip_longest(grid, results.fields):
        if path is None:
            axes.set_visible(False)
            continue
        chosen = sorted(results.scored, key=lambda one, path=path: one.values[path])
        values = [one.values[path] for one in chosen]
        _bars(axes, results, values, chosen, line=len(results.fields) == 1)
        if min(values) > 0 and max(values) / min(values) >= 30:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter("")  # whose texts would overlap
        axes.set(xlabel=path, ylabel=CRITERION)
    return figure


def _by_name(results: Results) -> Figure:
    chosen = results.scored
    if len(chosen) > _MOST_NAMES:
        chosen = sorted(chosen, key=lambda one: -one.score.mean)[:_MOST_NAMES]
    figure = Figure(figsize=(8, 1.2 + 0.28 * len(chosen)), layout="constrained")
    axes = figure.subplots()
    for y, one in enumerate(chosen):
        spread = one.score.spread or 0.0
        colour = _BEST if one is results.best else _COLOUR
        axes.errorbar([one.score.mean], [y], xerr=[spread], fmt="o", color=colour, capsize=3)
    axes.set_yticks(range(len(chosen)), [one.name[:60] for one in chosen], fontsize=8)
    axes.set(xlabel=CRITERION, ylim=(len(chosen) - 0.5, -0.5))
    axes.grid(axis="x", alpha=0.3)
    return figure


def _over_coverage(results: Results) -> Figure:
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axes = figure.subplots()
    chosen = [one for one in results.scored if "covered" in one.coverage]
    _bars(axes, results, [one.coverage["covered"] for one in chosen], chosen)
    axes.set(xlabel="share of objects with an anchor at the matching IoU", ylabel=CRITERION)
    axes.set_title(f"rank correlation {rank_correlation(results):.2f}", fontsize=10)
    return figure


def _bars(
    axes: Axes, results: Results, x: Sequence[float], chosen: Sequence[Setting], line: bool = False
) -> None:
    means = [one.score.mean for one in chosen]
    spreads = [one.score.spread or 0.0 for one in chosen]
    axes.errorbar(x, means, yerr=spreads, fmt="o-" if line else "o", color=_COLOUR, capsize=3)
    for at, one in zip(x, chosen, strict=True):
        if one is results.best:
            axes.plot([at], [one.score.mean], "o", color=_BEST, zorder=3)
    axes.grid(alpha=0.3)


def _short(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else f"{text[:21]}..."
