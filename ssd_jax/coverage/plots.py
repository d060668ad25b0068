"""Coverage as pictures: what is covered, by which map, how well, and the anchors of a cell."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from ssd_jax.coverage import groups
from ssd_jax.coverage.measure import Coverage
from ssd_jax.ops.anchors import AnchorSpec, generate

_COVERED, _FORCED, _INK = "#1f5fa8", "#d1495b", "#30363d"
_SMALLEST_SIDE = 4.0  # pixels; the heat map begins there, and thinner objects are counted there
_BINS = 24


def overview(coverage: Coverage) -> Figure:
    """Returns what is covered over width and height, the objects by map, and best IoU."""
    figure = Figure(figsize=(14, 4.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.15, 1, 1))
    _heat_map(left, coverage)
    _by_map(middle, coverage)
    _best_iou(right, coverage)
    return figure


def cells(spec: AnchorSpec, picture: Image.Image | None = None) -> Figure:
    """Returns the anchors of the middle cell of each map, on a blank input or on a picture.

    The picture has any size; it is warped to the network's input.
    """
    height, width = spec.image_size
    m, panel = len(spec.maps), 2.6  # inches
    margin = 0.1 * max(height, width)  # for what reaches over the border
    figure = Figure(figsize=(panel * m, panel * height / width + 0.7), layout="constrained")
    anchors = generate(spec) * np.array((width, height) * 2)
    start = 0
    for axes, entry in zip(figure.subplots(1, m, squeeze=False)[0], spec.maps, strict=True):
        axes.add_patch(Rectangle((0, 0), width, height, facecolor="#eceef1", edgecolor=_INK))
        if picture is not None:
            warped = picture.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
            axes.imshow(np.asarray(warped), extent=(0, width, height, 0), zorder=1)
        rows, columns = entry.map_size
        first = start + (rows // 2 * columns + columns // 2) * entry.per_cell
        for i, (x, y, w, h) in enumerate(anchors[first : first + entry.per_cell]):
            axes.add_patch(
                Rectangle(
                    (x - w / 2, y - h / 2), w, h, fill=False, linewidth=1.6, edgecolor=f"C{i}"
                )
            )
        axes.plot(*anchors[first, :2], marker="+", color=_INK)
        axes.set(xlim=(-margin, width + margin), ylim=(height + margin, -margin))
        axes.set(aspect="equal", xticks=(), yticks=())
        axes.set_title(f"{rows} x {columns}: {entry.per_cell} in a cell", fontsize=9, color=_INK)
        start += entry.num_anchors
    return figure


def _heat_map(axes: Axes, coverage: Coverage) -> None:
    height, width = coverage.spec.image_size
    edges = [np.geomspace(_SMALLEST_SIDE, side, _BINS + 1) for side in (width, height)]
    # Half a pixel inside of the largest edge, which rounding would otherwise leave out.
    sides = np.clip(coverage.sides, _SMALLEST_SIDE, np.array((width, height)) - 0.5)
    count, _, _ = np.histogram2d(*sides.T, bins=edges)
    covered, _, _ = np.histogram2d(*sides[coverage.covered].T, bins=edges)
    with_objects = np.ma.masked_where(count == 0, covered / np.maximum(count, 1))
    mesh = axes.pcolormesh(*edges, with_objects.T, cmap="RdYlBu", vmin=0, vmax=1)
    axes.figure.colorbar(mesh, ax=axes, label=f"share at IoU {coverage.iou_threshold:g}")
    shapes = generate(coverage.spec)[:, 2:] * np.array((width, height))
    shapes = np.unique(shapes.round(1), axis=0)
    axes.scatter(*shapes.T, s=16, facecolors="white", edgecolors="black", linewidths=0.8)
    axes.set(xscale="log", yscale="log", aspect="equal")
    axes.set(xlim=edges[0][[0, -1]], ylim=edges[1][[0, -1]])
    ticks = [t for t in (4, 8, 16, 32, 64, 128, 256, 512) if t <= max(width, height)]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(ticks, labels=map(str, ticks))
        axis.set_minor_formatter("")
    axes.set(xlabel="width, pixels of the input", ylabel="height, pixels of the input")
    axes.set_title("covered objects, and the shapes of anchors", fontsize=10, color=_INK)


def _by_map(axes: Axes, coverage: Coverage) -> None:
    names = groups.map_names(coverage)
    of_map = [coverage.source == i for i in range(len(names))]
    covered = np.array([(of & ~coverage.forced).sum() for of in of_map])
    forced = np.array([(of & coverage.forced).sum() for of in of_map])
    x = np.arange(len(names))
    axes.bar(x, covered, color=_COVERED, label="at the matching IoU")
    axes.bar(x, forced, bottom=covered, color=_FORCED, label="by the bipartite rule only")
    axes.set_xticks(x, names, fontsize=8)
    axes.set(xlabel="map of the best matched anchor", ylabel="objects")
    axes.legend(fontsize=8, frameon=False)
    axes.set_title("objects by map", fontsize=10, color=_INK)


def _best_iou(axes: Axes, coverage: Coverage) -> None:
    counts, edges = groups.best_iou_histogram(coverage)
    colors = [_COVERED if low >= coverage.iou_threshold else _FORCED for low in edges[:-1].round(6)]
    axes.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color=colors, linewidth=0)
    axes.axvline(coverage.iou_threshold, color=_INK, linewidth=0.8, linestyle="--")
    axes.set(xlabel="best IoU of an object with an anchor", ylabel="objects", xlim=(0, 1))
    axes.set_title("best IoU", fontsize=10, color=_INK)
