"""Boxes as offsets from anchors: what the localisation heads predict."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ssd_jax.ops.boxes import cxcywh_to_xyxy, require_boxes, xyxy_to_cxcywh
from ssd_jax.types import AnyArray

# Of centre x, centre y, width, height: the divisors that give the targets about unit variance.
VARIANCES = (0.1, 0.1, 0.2, 0.2)

# Sides below this, normalised, are coded as if they were this long. It is far below a pixel, so it
# only keeps boxes and anchors without area away from log(0) and x / 0.
_SMALLEST_SIDE = 1e-6
# The largest ratio of sides inside the image that `encode` can therefore be given. `decode` goes no
# further, so an offset that a diverging network makes cannot overflow exp.
_LARGEST_LOG_RATIO = float(np.log(1 / _SMALLEST_SIDE))


def encode(
    boxes_xyxy: Float[AnyArray, "*N 4"],
    anchors_cxcywh: Float[AnyArray, "*N 4"],
    *,
    variances: tuple[float, float, float, float] = VARIANCES,
) -> Float[Array, "*N 4"]:
    """Returns the offsets that turn each anchor into its box.

    The rule is that of the SSD paper, section 2.2, with the variances of its released code:
    ((x - ax) / aw / .1, (y - ay) / ah / .1, log(w / aw) / .2, log(h / ah) / .2).

    Args:
        boxes_xyxy: boxes, normalised, one to an anchor.
        anchors_cxcywh: anchors, normalised.
        variances: divisors of the four differences, > 0.

    Returns:
        Offsets, finite for all finite boxes: a side below 1e-6 is taken as 1e-6.

    Raises:
        ValueError: a last axis is not 4 long, or the variances are not four positive numbers.

    >>> box, anchor = jnp.array([0.25, 0.25, 0.75, 0.75]), jnp.array([0.5, 0.5, 0.5, 0.5])
    >>> encode(box, anchor).tolist()
    [0.0, 0.0, 0.0, 0.0]
    """
    require_boxes("coding.encode", boxes_xyxy=boxes_xyxy, anchors_cxcywh=anchors_cxcywh)
    _require_variances("coding.encode", variances)
    boxes, anchors = xyxy_to_cxcywh(boxes_xyxy), jnp.asarray(anchors_cxcywh)
    size = jnp.maximum(boxes[..., 2:], _SMALLEST_SIDE)
    anchor_size = jnp.maximum(anchors[..., 2:], _SMALLEST_SIDE)
    shift = (boxes[..., :2] - anchors[..., :2]) / anchor_size
    return jnp.concatenate([shift, jnp.log(size / anchor_size)], axis=-1) / jnp.asarray(
        variances, boxes.dtype
    )


def decode(
    offsets: Float[AnyArray, "*N 4"],
    anchors_cxcywh: Float[AnyArray, "*N 4"],
    *,
    variances: tuple[float, float, float, float] = VARIANCES,
) -> Float[Array, "*N 4"]:
    """Returns the boxes that offsets make of their anchors; the inverse of `encode`.

    Args:
        offsets: variance-coded offsets, one row to an anchor.
        anchors_cxcywh: anchors, normalised.
        variances: the ones that `encode` was given.

    Returns:
        Boxes (x0, y0, x1, y1), normalised, not clipped to the image. A side is at most 1e6 times
        its anchor's, which no box inside an image exceeds, so that no finite offset overflows.

    Raises:
        ValueError: a last axis is not 4 long, or the variances are not four positive numbers.

    >>> decode(jnp.zeros(4), jnp.array([0.5, 0.5, 0.5, 0.5])).tolist()
    [0.25, 0.25, 0.75, 0.75]
    """
    require_boxes("coding.decode", offsets=offsets, anchors_cxcywh=anchors_cxcywh)
    _require_variances("coding.decode", variances)
    anchors = jnp.asarray(anchors_cxcywh)
    differences = offsets * jnp.asarray(variances, anchors.dtype)
    centre = anchors[..., :2] + differences[..., :2] * anchors[..., 2:]
    size = anchors[..., 2:] * jnp.exp(jnp.minimum(differences[..., 2:], _LARGEST_LOG_RATIO))
    return cxcywh_to_xyxy(jnp.concatenate([centre, size], axis=-1))


def _require_variances(where: str, variances: tuple[float, ...]) -> None:
    if len(variances) != 4 or not all(v > 0 for v in variances):
        raise ValueError(f"{where}: expected four variances > 0, got {variances}")
