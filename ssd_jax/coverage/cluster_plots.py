"""Clusters of boxes as a page: sizes, ratios, and how much each further cluster helps."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ssd_jax.coverage.clustering import Clusters

_MARK = "#d1495b"
_LARGEST_RATIO = 8.0


def page(
    sides: Float[np.ndarray, "n 2"],
    image_size: tuple[int, int],
    sizes: Sequence[Clusters],
    ratios: Sequence[Clusters],
    chosen: tuple[int, int],
) -> Figure:
    """Returns the page.

    Args:
        sides: width and height of every box, pixels of the network's input.
        image_size: height, width of that input.
        sizes: what `clustering.by_size` returns for k = 1, 2, ...
        ratios: what `clustering.by_ratio` returns for k = 1, 2, ...
        chosen: the k of the sizes and the k of the ratios to draw.
    """
    figure = Figure(figsize=(12, 8), layout="constrained")
    (top_left, top_right), (bottom_left, bottom_right) = figure.subplots(2, 2)
    height, width = image_size
    top_left.hist2d(
        *sides.T, bins=80, range=((0, width), (0, height)), norm=LogNorm(), cmap="Blues"
    )
    centres = sizes[chosen[0] - 1].centres
    top_left.scatter(*centres.T, color=_MARK, zorder=3)
    for w, h in centres:
        top_left.annotate(f"{w:.0f} x {h:.0f}", (w, h), xytext=(5, 4), textcoords="offset points")
    top_left.set(xlabel="width, pixels", ylabel="height, pixels", aspect="equal")
    top_left.set_title(f"{len(sides):,} boxes on {height} x {width}, {chosen[0]} sizes")
    _elbow(top_right, [c.error for c in sizes], "1 - IoU with the nearest size", chosen[0])
    folded = np.exp(np.abs(np.log(sides[:, 0] / sides[:, 1])))
    bottom_left.hist(folded, bins=140, range=(1, _LARGEST_RATIO), color="#9dbcd8")
    for ratio in ratios[chosen[1] - 1].centres[:, 0]:
        bottom_left.axvline(ratio, color=_MARK)
        place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        bottom_left.annotate(f"{ratio:.2f}", (ratio, 1), xytext=(3, -12), **place)
    bottom_left.set(xlabel="longer side / shorter side", ylabel="boxes", xlim=(1, _LARGEST_RATIO))
    bottom_left.set_title(f"{chosen[1]} ratios")
    _elbow(bottom_right, [c.error for c in ratios], "log distance to the nearest ratio", chosen[1])
    return figure


def _elbow(axes: Axes, errors: Sequence[float], label: str, chosen: int) -> None:
    numbers = range(1, len(errors) + 1)
    axes.plot(numbers, errors, marker="o", color="#1f5fa8")
    axes.scatter([chosen], [errors[chosen - 1]], color=_MARK, zorder=3)
    axes.set(xlabel="clusters", ylabel=f"mean {label}", ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
