"""Crop, expansion, flip and resize of an image as one axis-aligned affine map.

Such a map acts on rows and columns apart, so it is two matrix products whose matrices hold the
interpolation kernel's weights. The map is given by a window: the rectangle of the source, in its
pixels, that becomes the whole output. A window that reaches beyond the image shows the fill colour
there (expansion); one whose start lies after its stop is shown reversed (flip).
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num, ScalarLike

# A position this close to a pixel's edge, in pixels, counts as on it: otherwise rounding would
# decide which of two pixels is the nearest.
_TIE = 1e-4


class _Kernel(NamedTuple):
    """An interpolation kernel: the share of a source pixel in an output pixel, not normalised.

    `weight` takes the source pixel's distance from the output pixel's centre and the kernel's
    width, both in source pixels; it is 0 beyond `radius * width` ('area': half a pixel more).
    """

    weight: Callable[[Array, ScalarLike], Array]
    radius: float
    width: str = "as asked"  # "fixed": 1; "shrinking": max(1, scale); "scale"; or by `antialias`


def _box(distance: Array, width: ScalarLike) -> Array:
    half = width / 2
    return ((distance > _TIE - half) & (distance <= _TIE + half)).astype(jnp.float32)


def _overlap(distance: Array, width: ScalarLike) -> Array:
    return jnp.clip((1 + width) / 2 - jnp.abs(distance), 0, jnp.minimum(1, width))


def _triangle(distance: Array, width: ScalarLike) -> Array:
    return jnp.maximum(1 - jnp.abs(distance) / width, 0)


def _cubic(a: float) -> Callable[[Array, ScalarLike], Array]:
    def weight(distance: Array, width: ScalarLike) -> Array:
        x = jnp.abs(distance) / width
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = a * (((x - 5) * x + 8) * x - 4)
        return jnp.where(x < 1, near, jnp.where(x < 2, far, 0))

    return weight


def _lanczos(lobes: int) -> Callable[[Array, ScalarLike], Array]:
    def weight(distance: Array, width: ScalarLike) -> Array:
        x = distance / width
        return jnp.where(jnp.abs(x) < lobes, jnp.sinc(x) * jnp.sinc(x / lobes), 0)

    return weight


_KERNELS = {
    "nearest": _Kernel(_box, 0.5, "fixed"),  # by pixel centres; OpenCV's is half a pixel off them
    "box": _Kernel(_box, 0.5, "shrinking"),  # Pillow's BOX: the mean of whole pixels
    "area": _Kernel(_overlap, 0.5, "scale"),  # OpenCV's INTER_AREA: pixels count by covered part
    "linear": _Kernel(_triangle, 1),
    "cubic": _Kernel(_cubic(-0.75), 2),  # OpenCV's INTER_CUBIC
    "catmull_rom": _Kernel(_cubic(-0.5), 2),  # Pillow's BICUBIC
    "lanczos3": _Kernel(_lanczos(3), 3),  # Pillow's LANCZOS
    "lanczos4": _Kernel(_lanczos(4), 4),  # OpenCV's INTER_LANCZOS4
}
KERNELS = tuple(_KERNELS)


def weights(
    kernel: str | Sequence[str],
    out_size: int,
    in_size: int,
    start: ScalarLike,
    stop: ScalarLike,
    *,
    choice: ScalarLike = 0,
    extent: ScalarLike | None = None,
    antialias: bool = False,
    confined: bool = True,
    max_window: float = 1.0,
) -> Float[Array, "{out_size} {in_size}"]:
    """Returns the matrix that resamples one axis: output pixels by source pixels.

    At the ends of the image, or of the window if `confined`, a kernel's remaining weights are
    scaled up, as in Pillow; OpenCV repeats the last pixel there. The weights of a row sum to 1
    together with the fill's, so what a row lacks to 1 is the fill colour's share; a row outside of
    the source is 0, and so is every row of an empty window.

    Args:
        kernel: a name of `KERNELS`, or several, of which `choice` takes one.
        out_size: pixels of the output.
        in_size: pixels of the source's axis.
        start: where the output begins, in source pixels (pixel i spans i to i + 1).
        stop: where it ends; before `start` for a reversed output.
        choice: index into several kernels; may be traced.
        extent: how many of the source's pixels are the image; those behind are fill.
        antialias: True: widen kernels by the shrinking factor, as Pillow does. False: skip source
            pixels instead, as OpenCV and so the released SSD do. 'box' and 'area' average always,
            'nearest' never.
        confined: True: pixels outside of the window do not count, as if the image was cropped first
            and then resized (the released SSD). False: those of the image that the kernel reaches
            do, as in Pillow's `Image.resize(box=...)`.
        max_window: the longest window over which kernels that average do so in full, in units of
            `in_size`: it sets their memory. In a longer one they skip pixels.

    Raises:
        ValueError: for a kernel that does not exist.
    """
    names = (kernel,) if isinstance(kernel, str) else tuple(kernel)
    if not names or not set(names) <= set(KERNELS):
        raise ValueError(f"resample.weights: expected kernels of {KERNELS}, got {kernel!r}")
    extent = in_size if extent is None else extent
    low, high = jnp.minimum(start, stop), jnp.maximum(start, stop)
    scale, max_scale = (high - low) / out_size, max(1.0, max_window * in_size / out_size)
    widths = {
        "fixed": (1.0, 1.0),
        "shrinking": (jnp.clip(scale, 1, max_scale), max_scale),
        "scale": (jnp.minimum(scale, max_scale), max_scale),
    }
    widths["as asked"] = widths["shrinking" if antialias else "fixed"]

    # The source pixels around each output pixel's centre that any of the kernels may reach (taps).
    index = jnp.arange(out_size)
    index = jnp.where(jnp.less_equal(start, stop), index, out_size - 1 - index)
    centre = low + (index + 0.5) * (high - low) / out_size
    kernels = [_KERNELS[name] for name in names]
    num_taps = max(math.ceil(2 * k.radius * widths[k.width][1]) + 1 for k in kernels)
    pixel = jnp.floor(centre[:, None] - (num_taps - 1) / 2) + jnp.arange(num_taps)
    distance = pixel + 0.5 - centre[:, None]
    shares = jnp.stack([k.weight(distance, widths[k.width][0]) for k in kernels])[choice]

    # Taps count if they exist: in the window or in the image. Those outside the image are fill.
    first, last = (low, high) if confined else (jnp.minimum(low, 0), jnp.maximum(high, extent))
    shares = jnp.where((pixel >= jnp.floor(first)) & (pixel < jnp.ceil(last)), shares, 0)
    total = jnp.sum(shares, axis=1, keepdims=True)
    shares = jnp.where((pixel >= 0) & (pixel < extent), shares, 0) / jnp.where(total, total, 1)

    # Taps to columns by comparison: one fused loop, where a scatter may be serial.
    column = jnp.arange(in_size, dtype=pixel.dtype)
    return sum(
        jnp.where(column == pixel[:, tap, None], shares[:, tap, None], 0) for tap in range(num_taps)
    )


def resample(
    image: Num[Array, "H W channels"],
    window_xyxy: Float[Array, "4"],
    out_size: tuple[int, int],
    *,
    kernel: str | Sequence[str],
    choice: ScalarLike = 0,
    size: Num[Array, "2"] | None = None,
    fill: Sequence[float] | None = None,
    antialias: bool = False,
    confined: bool = True,
    max_window: float = 1.0,
) -> Float[Array, "{out_size[0]} {out_size[1]} channels"]:
    """Returns the part of an image that a window shows, at another size.

    Kernels with negative lobes (cubic, Lanczos) may leave the image's range: nothing is clipped.

    Args:
        image: any number of channels.
        window_xyxy: the source rectangle (x0, y0, x1, y1) in pixels of the image; x0 > x1 flips.
        out_size: height, width of the output, pixels.
        kernel: a name of `KERNELS`, or several, of which `choice` takes one.
        choice: index into several kernels; may be traced.
        size: height, width of the image in the upper left of a larger canvas; default: all of it.
        fill: the colour outside of the image, a number per channel; default: 0.
        antialias: see `weights`, as for the two below.
        confined: whether pixels beyond the window do not count.
        max_window: the longest window to average over in full, in units of the canvas.

    Raises:
        ValueError: for a kernel that does not exist, or a fill of another number of channels.

    >>> image = jnp.array([[[0.0], [2.0]]])
    >>> resample(image, jnp.array([0.0, 0.0, 2.0, 1.0]), (1, 1), kernel="area").tolist()
    [[[1.0]]]
    """
    height, width, channels = image.shape
    fill = (0.0,) * channels if fill is None else tuple(fill)
    if len(fill) != channels:
        raise ValueError(f"resample.resample: expected a fill of {channels} numbers, got {fill}")
    extent_y, extent_x = (height, width) if size is None else (size[0], size[1])
    x0, y0, x1, y1 = window_xyxy
    shared = {"choice": choice, "antialias": antialias}
    shared |= {"confined": confined, "max_window": max_window}
    rows = weights(kernel, out_size[0], height, y0, y1, extent=extent_y, **shared)
    columns = weights(kernel, out_size[1], width, x0, x1, extent=extent_x, **shared)

    # What a row of weights lacks to 1 is the fill's share, so colours are taken relative to it.
    # Precision: an accelerator's default for float32 would round pixels and weights, which then no
    # longer sum to 1: on 0-255, TF32 is off by up to .14 and bfloat16 by 1.3 (512 to 300 pixels).
    # The products are .8 GFLOP an image there, little beside the network's.
    fill = jnp.asarray(fill, jnp.float32)
    highest = jax.lax.Precision.HIGHEST
    result = jnp.einsum("yh,hwc->ywc", rows, image - fill, precision=highest)
    return jnp.einsum("ywc,xw->yxc", result, columns, precision=highest) + fill
