"""Box formats, areas and overlaps.

`xyxy` is (x0, y0, x1, y1), `cxcywh` is (centre x, centre y, width, height). Leading axes are free,
and any unit will do that is the same in all arguments, except where a function says otherwise.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from ssd_jax.types import AnyArray


def require_boxes(where: str, **named: AnyArray) -> None:
    """Raises unless every array holds four numbers a box.

    Args:
        where: the calling function, as `module.function`.
        **named: arrays, under the names that the caller's user knows them by.

    Raises:
        ValueError: the last axis of an array is not 4 long.
    """
    for name, boxes in named.items():
        if boxes.ndim == 0 or boxes.shape[-1] != 4:
            raise ValueError(f"{where}: expected {name} of shape [..., 4], got {boxes.shape}")


def cxcywh_to_xyxy(boxes: Float[AnyArray, "*N 4"]) -> Float[Array, "*N 4"]:
    """Returns the corners of boxes that are given by centre and size.

    >>> cxcywh_to_xyxy(jnp.array([0.5, 0.5, 0.5, 0.25])).tolist()
    [0.25, 0.375, 0.75, 0.625]
    """
    require_boxes("boxes.cxcywh_to_xyxy", boxes=boxes)
    boxes = jnp.asarray(boxes)
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return jnp.concatenate([centre - half, centre + half], axis=-1)


def xyxy_to_cxcywh(boxes: Float[AnyArray, "*N 4"]) -> Float[Array, "*N 4"]:
    """Returns the centre and size of boxes that are given by corners.

    >>> xyxy_to_cxcywh(jnp.array([0.25, 0.375, 0.75, 0.625])).tolist()
    [0.5, 0.5, 0.5, 0.25]
    """
    require_boxes("boxes.xyxy_to_cxcywh", boxes=boxes)
    boxes = jnp.asarray(boxes)
    low, high = boxes[..., :2], boxes[..., 2:]
    return jnp.concatenate([(low + high) / 2, high - low], axis=-1)


def clip(boxes_xyxy: Float[AnyArray, "*N 4"]) -> Float[Array, "*N 4"]:
    """Returns normalised boxes with every corner moved into the image, [0, 1].

    >>> clip(jnp.array([-0.5, 0.25, 0.5, 1.5])).tolist()
    [0.0, 0.25, 0.5, 1.0]
    """
    require_boxes("boxes.clip", boxes_xyxy=boxes_xyxy)
    return jnp.clip(boxes_xyxy, 0, 1)


def area(boxes_xyxy: Float[AnyArray, "*N 4"]) -> Float[Array, "*N"]:
    """Returns the areas of boxes, 0 where x1 <= x0 or y1 <= y0.

    >>> float(area(jnp.array([0.25, 0.25, 0.75, 0.5])))
    0.125
    """
    require_boxes("boxes.area", boxes_xyxy=boxes_xyxy)
    boxes_xyxy = jnp.asarray(boxes_xyxy)
    size = jnp.maximum(boxes_xyxy[..., 2:] - boxes_xyxy[..., :2], 0)
    return size[..., 0] * size[..., 1]


def pairwise_iou(
    a_xyxy: Float[AnyArray, "N 4"], b_xyxy: Float[AnyArray, "M 4"]
) -> Float[Array, "N M"]:
    """Returns the intersection over union of every box of one set with every box of another.

    Args:
        a_xyxy: boxes, [N, 4].
        b_xyxy: boxes, [M, 4].

    Returns:
        IoU, [N, M]. It is 0, with finite gradients, where a box has no area.

    Raises:
        ValueError: an argument is not a matrix with four columns.

    >>> left, whole = jnp.array([[0.0, 0.0, 0.5, 1.0]]), jnp.array([[0.0, 0.0, 1.0, 1.0]])
    >>> pairwise_iou(left, whole).tolist()
    [[0.5]]
    """
    if a_xyxy.ndim != 2 or b_xyxy.ndim != 2 or a_xyxy.shape[1] != 4 or b_xyxy.shape[1] != 4:
        raise ValueError(
            f"boxes.pairwise_iou: expected [N, 4] and [M, 4], got {a_xyxy.shape} and {b_xyxy.shape}"
        )
    a_xyxy, b_xyxy = jnp.asarray(a_xyxy), jnp.asarray(b_xyxy)
    # By coordinates, so that every array is [N, M] and vectorises along M.
    ax0, ay0, ax1, ay1 = a_xyxy.T[..., None]
    bx0, by0, bx1, by1 = b_xyxy.T
    width = jnp.maximum(jnp.minimum(ax1, bx1) - jnp.maximum(ax0, bx0), 0)
    height = jnp.maximum(jnp.minimum(ay1, by1) - jnp.maximum(ay0, by0), 0)
    intersection = width * height
    union = area(a_xyxy)[:, None] + area(b_xyxy) - intersection
    has_union = union > 0
    return jnp.where(has_union, intersection / jnp.where(has_union, union, 1), 0)
