"""The geometry of SSD's augmentation: expansion, the seven crop samplers, and what boxes become.

Both are windows on the image: rectangles (x0, y0, x1, y1) in units of the image's width and height,
(0, 0, 1, 1) being all of it. A window beyond the image expands it, one inside crops it, one with
x0 > x1 flips it; windows nest, and `ops.resample` shows what is in one.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ssd_jax.ops import boxes

Window = Float[Array, "4"]


class Crop(NamedTuple):
    """A drawn crop."""

    window_xyxy: Window
    sampler: Int[Array, ""]  # which drew it: 0 the whole image, i + 1 that of min_ious[i]


class Objects(NamedTuple):
    """The objects in a window."""

    boxes_xyxy: Float[Array, "G 4"]  # in the window's units; 0 where not valid
    valid: Bool[Array, " G"]


def whole() -> Window:
    """Returns the window that is the image itself."""
    return jnp.array([0.0, 0.0, 1.0, 1.0])


def nest(outer_xyxy: Window, inner_xyxy: Window) -> Window:
    """Returns a window given in the coordinates of another one, in those of the other's image.

    >>> nest(jnp.array([0.0, 0.0, 0.5, 0.5]), jnp.array([0.5, 0.5, 1.0, 1.0])).tolist()
    [0.25, 0.25, 0.5, 0.5]
    """
    origin, corner = outer_xyxy[:2], outer_xyxy[2:]
    return jnp.tile(origin, 2) + inner_xyxy * jnp.tile(corner - origin, 2)


def flip(window_xyxy: Window) -> Window:
    """Returns the window seen in a mirror: left and right exchanged.

    >>> flip(whole()).tolist()
    [1.0, 0.0, 0.0, 1.0]
    """
    x0, y0, x1, y1 = window_xyxy
    return jnp.stack([x1, y0, x0, y1])


def expand(key: PRNGKeyArray, *, probability: float = 0.5, max_ratio: float = 4.0) -> Window:
    """Returns, with `probability`, a window of U(1, max_ratio) times the image's size around it.

    The image lies in it uniformly, at any fraction of a pixel (SSD, released `ExpandImage`: whole
    pixels).
    """
    u = jax.random.uniform(key, (4,))
    ratio = jnp.where(u[0] < probability, 1 + u[1] * (max_ratio - 1), 1.0)
    origin = (1 - ratio) * u[2:]
    return jnp.concatenate([origin, origin + ratio])


def sample(
    key: PRNGKeyArray,
    boxes_xyxy: Float[Array, "G 4"],
    valid: Bool[Array, " G"],
    *,
    min_ious: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9, 0.0),
    num_trials: int = 50,
    scale: tuple[float, float] = (0.3, 1.0),
    aspect: tuple[float, float] = (0.5, 2.0),
) -> Crop:
    """Draws a crop by SSD's samplers (SSD, section 2.2; released `GenerateBatchSamples`).

    Each sampler draws `num_trials` rectangles and succeeds with its first in which some object has
    at least its IoU with the rectangle. One of those that succeeded is taken uniformly; the whole
    image always succeeds. The sampler of IoU 0 ("any") asks for an object too, as in the released
    code, so an image without objects is never cropped.

    Args:
        key: of the random choices.
        boxes_xyxy: the objects.
        valid: which of them exist.
        min_ious: of each sampler but the whole image.
        num_trials: of each sampler.
        scale: range of the square root of the crop's area, in units of the image's.
        aspect: range of width to height, in those units too; narrowed so that the crop fits.
    """
    shape = (len(min_ious), num_trials)
    # One draw for everything: each that is apart adds a quarter of a second of compilation.
    u = jax.random.uniform(key, (len(min_ious) + 1 + 4 * math.prod(shape),))
    priority, u = u[: len(min_ious) + 1], u[len(min_ious) + 1 :].reshape(4, *shape)
    scales = scale[0] + u[0] * (scale[1] - scale[0])
    narrowest, widest = jnp.maximum(aspect[0], scales**2), jnp.minimum(aspect[1], scales**-2)
    aspects = narrowest + u[1] * (widest - narrowest)
    width = jnp.minimum(scales * jnp.sqrt(aspects), 1)
    height = jnp.minimum(scales / jnp.sqrt(aspects), 1)
    x0, y0 = u[2] * (1 - width), u[3] * (1 - height)
    trials = jnp.stack([x0, y0, x0 + width, y0 + height], axis=-1)

    iou = boxes.pairwise_iou(trials.reshape(-1, 4), boxes_xyxy)
    best = jnp.max(iou, axis=-1, where=valid, initial=-1.0).reshape(shape)
    success = best >= jnp.asarray(min_ious)[:, None]
    first = jnp.argmax(success, axis=1)
    windows = jnp.concatenate([whole()[None], trials[jnp.arange(len(min_ious)), first]])
    succeeded = jnp.concatenate([jnp.ones(1, bool), jnp.any(success, axis=1)])
    sampler = jnp.argmax(jnp.where(succeeded, priority, -1))
    return Crop(windows[sampler], sampler)


def project(boxes_xyxy: Float[Array, "G 4"], window_xyxy: Window) -> Float[Array, "G 4"]:
    """Returns boxes in the coordinates of a window, which may be flipped; nothing is clipped.

    >>> right_half = jnp.array([0.5, 0.0, 1.0, 1.0])
    >>> project(jnp.array([[0.5, 0.0, 0.75, 1.0]]), right_half).tolist()
    [[0.0, 0.0, 0.5, 1.0]]
    """
    origin, corner = window_xyxy[:2], window_xyxy[2:]
    points = (boxes_xyxy.reshape(-1, 2, 2) - origin) / (corner - origin)
    return jnp.concatenate([jnp.min(points, axis=1), jnp.max(points, axis=1)], axis=-1)


def clip(boxes_xyxy: Float[Array, "G 4"], valid: Bool[Array, " G"]) -> Objects:
    """Clips objects to [0, 1]; those that have, or keep, no area become invalid and 0."""
    clipped = boxes.clip(boxes_xyxy)
    valid = valid & jnp.all(clipped[:, 2:] > clipped[:, :2], axis=-1)
    return Objects(jnp.where(valid[:, None], clipped, 0), valid)


def keep_centred(boxes_xyxy: Float[Array, "G 4"], valid: Bool[Array, " G"]) -> Objects:
    """Keeps the objects whose centre lies in [0, 1], its edges included, and clips them to it.

    A crop may keep none: its sampler asks for an overlap with an object, not for a centre.
    """
    centre = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    return clip(boxes_xyxy, valid & jnp.all((centre >= 0) & (centre <= 1), axis=-1))
