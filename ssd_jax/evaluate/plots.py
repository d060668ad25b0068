"""Precision-recall curves as pictures: all classes on one page, and a page for each.

Figures are made without pyplot, so they share no state and need no display.
"""

import math
import pathlib
import re
import warnings
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssd_jax.evaluate import voc_ap
from ssd_jax.evaluate.voc_ap import Curve

_LINE, _AREA, _FAINT, _MARK = "#1f5fa8", "#c9dcf0", "#b8bec6", "#d1495b"
_INK, _GRID = "#30363d", "#e6e9ed"
_MAX_POINTS = 2000  # of a drawn line: more cannot be told apart


def precision_recall_overview(curves: Sequence[Curve], class_names: Sequence[str]) -> Figure:
    """Returns a small plot of each class's curve at VOC's IoU, the class of highest AP first."""
    _check(curves, class_names)
    aps = np.array([voc_ap.eleven_point_ap(curve) for curve in curves])
    order = np.argsort(-aps, kind="stable")  # NaN, of classes without objects, comes last
    columns = min(len(curves), max(4, math.ceil(math.sqrt(1.25 * len(curves)))))
    rows = math.ceil(len(curves) / columns)
    figure = Figure(
        figsize=(max(3.6, 1.75 * columns + 0.7), 1.85 * rows + 1.0), layout="constrained"
    )
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for cell, k in zip(grid, order, strict=False):
        _style(cell)
        _draw_curve(cell, curves[k])
        title = class_names[k] if len(class_names[k]) <= 17 else class_names[k][:16] + "…"
        cell.set_title(title, fontsize=9, color=_INK, loc="left", parse_math=False)
        ap = "-" if math.isnan(aps[k]) else f"{aps[k]:.3f}"  # a dash: no objects
        cell.set_title(ap, fontsize=9, color=_LINE, loc="right", fontweight="bold")
    for cell in grid[len(curves) :]:
        cell.set_visible(False)
    scored = aps[~np.isnan(aps)]
    mean = f"mAP {scored.mean():.3f}" if len(scored) else "no objects"
    figure.suptitle(f"{mean}   (VOC07, IoU {voc_ap.IOU_THRESHOLD:g})", color=_INK, fontsize=12)
    figure.supxlabel("recall", color=_INK, fontsize=10)
    figure.supylabel("precision", color=_INK, fontsize=10)
    return figure


def class_page(curve: Curve, class_name: str) -> Figure:
    """Returns a class's precision over recall, and precision, recall and F1 over the score."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    ap, area = voc_ap.eleven_point_ap(curve), voc_ap.area_ap(curve)
    scores = "" if math.isnan(ap) else f"   AP {ap:.3f} (VOC07), {area:.3f} (VOC12)"
    title = f"{class_name}{scores}   IoU {voc_ap.IOU_THRESHOLD:g}, {curve.num_objects} objects"
    figure.suptitle(title, color=_INK, fontsize=12, parse_math=False)

    _style(left)
    _draw_f1_levels(left)
    _draw_curve(left, curve)
    left.set(xlabel="recall", ylabel="precision")

    _style(right)
    right.set(xlabel="score threshold", ylabel="precision, recall, F1")
    right.set_xlim(_score_range(curve.scores))
    total = curve.precision + curve.recall
    f1 = 2 * curve.precision * curve.recall / np.maximum(total, 1e-12)
    shown = _thinned(len(curve.scores))
    for name, values, color in (
        ("precision", curve.precision, _LINE),
        ("recall", curve.recall, "#2a9d6f"),
        ("F1", f1, _MARK),
    ):
        right.plot(curve.scores[shown], values[shown], color=color, linewidth=1.6, label=name)
    if len(f1):
        best = int(np.argmax(f1))
        right.plot(curve.scores[best], f1[best], "o", color=_MARK, markersize=6)
        right.axvline(curve.scores[best], color=_MARK, linewidth=0.8, linestyle=":")
        title = f"best F1 {f1[best]:.3f} at score {curve.scores[best]:.3f}: "
        title += f"precision {curve.precision[best]:.3f}, recall {curve.recall[best]:.3f}"
        right.set_title(title, fontsize=9, color=_INK)
        right.legend(frameon=False, fontsize=9, loc="best", labelcolor=_INK)
    return figure


def write_plots(
    directory: pathlib.Path, curves: Sequence[Curve], class_names: Sequence[str]
) -> list[pathlib.Path]:
    """Writes `precision_recall.png` and `precision_recall/LABEL_NAME.png`; returns the paths."""
    _check(curves, class_names)
    pages = directory / "precision_recall"
    pages.mkdir(parents=True, exist_ok=True)
    overview = directory / "precision_recall.png"
    _save(precision_recall_overview(curves, class_names), overview)
    paths = [overview]
    for label, (curve, name) in enumerate(zip(curves, class_names, strict=True), start=1):
        paths.append(pages / f"{label:02d}_{re.sub(r'[^A-Za-z0-9-]+', '_', name)}.png")
        _save(class_page(curve, name), paths[-1])
    return paths


def _check(curves: Sequence[Curve], class_names: Sequence[str]) -> None:
    if not curves or len(curves) != len(class_names):
        raise ValueError(
            f"plots: expected a name for each of at least one curve, got {len(curves)} curves and "
            f"{len(class_names)} names"
        )


def _save(figure: Figure, path: pathlib.Path) -> None:
    with warnings.catch_warnings():
        # A class name in a script that the font does not have is drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(path, dpi=120)


def _style(axes: Axes) -> None:
    """Shows 0 to 1 on both axes, with a light grid and no frame on the top and the right."""
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FAINT)
    axes.tick_params(colors=_INK, labelsize=8, length=0)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)


def _draw_curve(axes: Axes, curve: Curve) -> None:
    """Draws the measured precision, its envelope over the area it covers, and the 11 points."""
    if curve.num_objects == 0 or len(curve.recall) == 0:
        return
    best = voc_ap.envelope(curve.precision)
    # The envelope falls to zero behind the last recall that is reached.
    recall = np.concatenate([[0], curve.recall, curve.recall[-1:]])
    height = np.concatenate([best[:1], best, [0]])
    axes.fill_between(recall, height, step="pre", color=_AREA, linewidth=0)
    shown = _thinned(len(curve.recall))
    axes.plot(curve.recall[shown], curve.precision[shown], color=_FAINT, linewidth=0.8)
    axes.step(recall, height, where="pre", color=_LINE, linewidth=1.4)
    levels = np.linspace(0, 1, 11)
    levels = levels[levels <= curve.recall[-1]]
    points = best[np.searchsorted(curve.recall, levels)]
    axes.plot(levels, points, "o", color=_LINE, markersize=2.6, clip_on=False)


def _draw_f1_levels(axes: Axes) -> None:
    """Draws the lines on which F1 is .2, .4, .6 and .8."""
    for level in (0.2, 0.4, 0.6, 0.8):
        recall = np.linspace(level / (2 - level), 1, 100)
        precision = level * recall / (2 * recall - level)
        axes.plot(recall, precision, color=_FAINT, linewidth=0.6, linestyle="--", zorder=0.5)
        style = {"fontsize": 7, "color": _FAINT, "ha": "right", "va": "center"}
        paper = {"facecolor": "white", "linewidth": 0, "pad": 0.5}
        axes.text(0.99, precision[-1], f"F1 {level}", bbox=paper, **style)


def _thinned(n: int) -> np.ndarray:
    """Returns the numbers of at most `_MAX_POINTS` of n points, the first and the last included."""
    return np.unique(np.linspace(0, n - 1, min(n, _MAX_POINTS)).round().astype(int))


def _score_range(scores: np.ndarray) -> tuple[float, float]:
    """Returns the range of a score axis: 0 to 1 for probabilities, otherwise their own."""
    if len(scores) == 0 or (scores.min() >= 0 and scores.max() <= 1):
        return 0.0, 1.0
    return float(scores.min()), float(max(scores.max(), scores.min() + 1e-6))
