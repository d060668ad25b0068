"""Non-maximum suppression with outputs of fixed size."""

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from ssd_jax.ops.boxes import pairwise_iou
from ssd_jax.types import AnyArray, Detections, Kept


def nms(
    boxes_xyxy: Float[AnyArray, "K 4"],
    scores: Float[AnyArray, " K"],
    *,
    iou_threshold: float,
    max_output: int,
    valid: Bool[AnyArray, " K"] | None = None,
) -> Kept:
    """Suppresses every box that overlaps a kept box of higher score.

    This is the greedy rule: by falling score, a box is kept unless its IoU with one that was kept
    before it is above the threshold. Of equal scores the lowest index goes first.

    Args:
        boxes_xyxy: candidates, [K, 4].
        scores: their scores, [K], in any order. A score of -inf or NaN excludes a candidate.
        iou_threshold: the largest overlap of two boxes that are both kept, in [0, 1].
        max_output: N, the length of the result; boxes beyond the N best kept ones are left out.
        valid: candidates that take part, [K]; all by default.

    Returns:
        The indices of the kept candidates by falling score, [N], and which slots are used. Memory
        is K x K bytes, so choose the candidates first.

    Raises:
        ValueError: the shapes do not fit each other, or a setting is out of its range.
    """
    K = scores.shape[0]
    valid = jnp.ones(K, bool) if valid is None else valid
    if boxes_xyxy.shape != (K, 4) or scores.ndim != 1 or valid.shape != (K,):
        raise ValueError(
            "nms.nms: expected boxes_xyxy [K, 4], scores [K] and valid [K], got "
            f"{boxes_xyxy.shape}, {scores.shape} and {valid.shape}"
        )
    _require_settings("nms.nms", iou_threshold, max_output=max_output)
    takes_part = (scores > -jnp.inf) & valid
    ranked, order = lax.top_k(jnp.where(takes_part, scores, -jnp.inf), K)
    kept = _suppress(jnp.asarray(boxes_xyxy)[order], ranked > -jnp.inf, iou_threshold)
    _, rank, used = _best(jnp.where(kept, ranked, -jnp.inf), max_output)
    return Kept(index=jnp.where(used, order[rank], 0), valid=used)


def multiclass_nms(
    boxes_xyxy: Float[AnyArray, "A 4"],
    scores: Float[AnyArray, "A C"],
    *,
    score_threshold: float,
    iou_threshold: float,
    pre_nms_top_k: int,
    max_output: int,
) -> Detections:
    """Suppresses boxes class by class and returns the best of all classes.

    The rule of the SSD paper's section 3.1 and its released code: of each class, the boxes with a
    score above the threshold, of these the `pre_nms_top_k` best, of these what `nms` keeps; and of
    all that the `max_output` best. Of equal scores the lowest class goes first, then the lowest
    box index.

    Args:
        boxes_xyxy: a box for every anchor, [A, 4], shared by the classes; not clipped here.
        scores: class probabilities, [A, C]; column 0 is background and is ignored.
        score_threshold: candidates have scores strictly above this.
        iou_threshold: the largest overlap of two boxes of a class that are both kept, in [0, 1].
        pre_nms_top_k: K, how many candidates of each class to consider.
        max_output: N, the length of the result.

    Returns:
        The detections by falling score, [N]; unused slots hold zeros.

    Raises:
        ValueError: the shapes do not fit each other, or a setting is out of its range.
    """
    A, C = boxes_xyxy.shape[0], scores.shape[-1]
    if boxes_xyxy.shape != (A, 4) or scores.ndim != 2 or scores.shape[0] != A or C < 2:
        raise ValueError(
            "nms.multiclass_nms: expected boxes_xyxy [A, 4] and scores [A, C] with C >= 2, got "
            f"{boxes_xyxy.shape} and {scores.shape}"
        )
    _require_settings(
        "nms.multiclass_nms", iou_threshold, pre_nms_top_k=pre_nms_top_k, max_output=max_output
    )
    boxes_xyxy, by_class = jnp.asarray(boxes_xyxy), jnp.asarray(scores)[:, 1:].T
    candidates = jnp.where(by_class > score_threshold, by_class, -jnp.inf)
    ranked, index = lax.top_k(candidates, min(pre_nms_top_k, A))  # [C - 1, K]
    kept = jax.vmap(_suppress, in_axes=(0, 0, None))(
        boxes_xyxy[index], ranked > -jnp.inf, iou_threshold
    )
    best_scores, best, used = _best(jnp.where(kept, ranked, -jnp.inf).reshape(-1), max_output)
    return Detections(
        boxes_xyxy=jnp.where(used[:, None], boxes_xyxy[index.reshape(-1)[best]], 0),
        scores=jnp.where(used, best_scores, 0),
        labels=jnp.where(used, best // ranked.shape[1] + 1, 0),
        valid=used,
    )


def _suppress(
    boxes_xyxy: Float[Array, "K 4"], valid: Bool[Array, " K"], iou_threshold: float
) -> Bool[Array, " K"]:
    """Returns which boxes, given by falling score, the greedy rule keeps.

    They are the one set that equals "valid, and not overlapped by an earlier box of the set". Each
    round applies that definition to all boxes at once. After round n it is settled for the first n
    boxes at least, and in practice for all of them in a few rounds.
    """
    rank = jnp.arange(boxes_xyxy.shape[0])
    overlaps_later = (pairwise_iou(boxes_xyxy, boxes_xyxy) > iou_threshold) & (rank[:, None] < rank)

    def apply_definition(state):
        kept, _ = state
        now_kept = valid & ~jnp.any(overlaps_later & kept[:, None], axis=0)
        return now_kept, jnp.any(now_kept != kept)

    kept, _ = lax.while_loop(lambda state: state[1], apply_definition, (valid, jnp.array(True)))
    return kept


def _best(
    scores: Float[Array, " K"], count: int
) -> tuple[Float[Array, " N"], Int[Array, " N"], Bool[Array, " N"]]:
    """Returns the largest scores, their indices, and whether they are above -inf, padded to count.

    Of equal scores the lowest index comes first, which `lax.top_k` promises.
    """
    best, index = lax.top_k(scores, min(count, scores.shape[0]))
    missing = (0, count - best.shape[0])
    best = jnp.pad(best, missing, constant_values=-jnp.inf)
    return best, jnp.pad(index, missing), best > -jnp.inf


def _require_settings(where: str, iou_threshold: float, **counts: int) -> None:
    if not 0 <= iou_threshold <= 1:
        raise ValueError(f"{where}: expected 0 <= iou_threshold <= 1, got {iou_threshold}")
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{where}: expected {name} >= 1, got {count}")
