"""Which object each anchor is trained towards."""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from ssd_jax.ops.boxes import cxcywh_to_xyxy, pairwise_iou
from ssd_jax.types import AnyArray, Matches

# An object that overlaps no free anchor by more than this gets no anchor of its own.
_SMALLEST_OVERLAP = 1e-6


def match(
    gt_boxes_xyxy: Float[AnyArray, "G 4"],
    gt_valid: Bool[AnyArray, " G"],
    anchors_cxcywh: Float[AnyArray, "A 4"],
    *,
    iou_threshold: float = 0.5,
) -> Matches:
    """Assigns objects to anchors by the two steps of the SSD paper's section 2.2.

    1. Bipartite: of all pairs of an object and an anchor that are both still free, the one of
       largest IoU (above 1e-6) is taken, and so on, so that each object owns an anchor. Of equal
       pairs the one with the lowest anchor index goes first, then that of the lowest object index.
    2. Every other anchor whose largest IoU reaches the threshold takes the object it has it with,
       the one of lowest index if there are several.

    Args:
        gt_boxes_xyxy: the objects, [G, 4], normalised.
        gt_valid: which of them are real, [G]; the others are never matched.
        anchors_cxcywh: the anchors, [A, 4], normalised; they may differ from image to image.
        iou_threshold: the overlap of the second step, in (0, 1].

    Returns:
        The object of each anchor, whether it is trained towards it, and its best IoU, all [A].
        Nothing of it is differentiable. Memory is a few arrays of G x A numbers.

    Raises:
        ValueError: the shapes do not fit each other, there is no anchor, or the threshold is
            outside (0, 1].

    >>> objects, real = jnp.array([[0.0, 0.0, 0.5, 0.5]]), jnp.array([True])
    >>> anchors = jnp.array([[0.25, 0.25, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]])
    >>> match(objects, real, anchors).positive.tolist()
    [True, False]
    """
    G, A = gt_boxes_xyxy.shape[0], anchors_cxcywh.shape[0]
    if gt_boxes_xyxy.shape != (G, 4) or gt_valid.shape != (G,) or anchors_cxcywh.shape != (A, 4):
        raise ValueError(
            "matching.match: expected gt_boxes_xyxy [G, 4], gt_valid [G], anchors_cxcywh [A, 4], "
            f"got {gt_boxes_xyxy.shape}, {gt_valid.shape}, {anchors_cxcywh.shape}"
        )
    if A == 0:
        raise ValueError("matching.match: expected at least one anchor, got none")
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"matching.match: expected 0 < iou_threshold <= 1, got {iou_threshold}")
    if G == 0:
        return Matches(jnp.zeros(A, jnp.int32), jnp.zeros(A, bool), jnp.zeros(A, jnp.float32))

    iou = pairwise_iou(gt_boxes_xyxy, cxcywh_to_xyxy(anchors_cxcywh))
    iou = lax.stop_gradient(jnp.where(jnp.asarray(gt_valid)[:, None], iou, 0))
    # All that follows compares these numbers for equality, so they must be computed once: fused
    # into several consumers they could be rounded in several ways.
    iou = lax.optimization_barrier(iou)

    best_iou, best_gt = _first_max(iou, axis=0)
    own_anchor = _assign_bipartite(iou)
    set_own = {"mode": "drop", "unique_indices": True}
    return Matches(
        gt_index=best_gt.at[own_anchor].set(jnp.arange(G, dtype=jnp.int32), **set_own),
        positive=(best_iou >= iou_threshold).at[own_anchor].set(True, **set_own),
        iou=best_iou,
    )


def _assign_bipartite(iou: Float[Array, "G A"]) -> Int[Array, " G"]:
    """Returns the anchor that each object owns after the greedy step, A or above where none.

    The greedy step looks for one largest pair at a time. Its answer is found here in few rounds:
    a pair that comes first among all the free pairs of its object and among all those of its anchor
    is certain to be taken, since no pair that goes before it can take either away. All such pairs
    are taken at once. The largest pair of all is one of them, so every round takes some; objects
    that do not compete for an anchor need one round, and G is the worst case.
    """
    G, A = iou.shape
    objects = jnp.arange(G, dtype=jnp.int32)

    def take_undisputed(state):
        own_anchor, pending = state
        free = jnp.ones(A, bool).at[own_anchor].set(False, mode="drop", unique_indices=True)
        best_iou, best_anchor = _first_max(jnp.where(free, iou, 0), axis=1)
        pending &= best_iou > _SMALLEST_OVERLAP
        rivals = jnp.where(pending[:, None], iou[:, best_anchor], 0)
        taken = pending & (_first_max(rivals, axis=0)[1] == objects)
        return jnp.where(taken, best_anchor, own_anchor), pending & ~taken

    # Out of bounds and distinct, so that writing to them writes nothing and indices never repeat.
    nothing = A + objects
    own_anchor, _ = lax.while_loop(
        lambda state: state[1].any(), take_undisputed, (nothing, jnp.ones(G, bool))
    )
    return own_anchor


def _first_max(
    values: Float[Array, "G A"], *, axis: int
) -> tuple[Float[Array, " N"], Int[Array, " N"]]:
    """Returns the largest values along an axis and the lowest indices that have them.

    XLA reduces a value and an index together (argmax) without vector instructions on CPU; two plain
    reductions are several times faster.
    """
    largest = values.max(axis, keepdims=True)
    index = lax.broadcasted_iota(jnp.int32, values.shape, axis)
    first = jnp.where(values == largest, index, values.shape[axis]).min(axis)
    return largest.squeeze(axis), first
