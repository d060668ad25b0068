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

    >>> boxes = jnp.array([[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.5, 0.4], [0.5, 0.5, 1.0, 1.0]])
    >>> nms(boxes, jnp.array([0.9, 0.8, 0.7]), iou_threshold=0.5, max_output=2).index.tolist()
    [0, 2]
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
    soft: bool = False,
    voting_iou: float | None = None,
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
        soft: `soften` the scores in place of suppressing; those that fall to the score threshold
            are left out.
        voting_iou: in place of each detection's box, the mean of the candidates of its class that
            overlap it by this much or more, itself included, weighted by their scores (Gidaris &
            Komodakis, 2015, section 4); None for no voting.

    Returns:
        The detections by falling score, [N]; unused slots hold zeros.

    Raises:
        ValueError: the shapes do not fit each other, or a setting is out of its range.

    >>> settings = {"score_threshold": 0.1, "iou_threshold": 0.5, "pre_nms_top_k": 2}
    >>> boxes, scores = jnp.array([[0.0, 0.0, 0.5, 0.5]]), jnp.array([[0.2, 0.05, 0.75]])
    >>> multiclass_nms(boxes, scores, max_output=1, **settings).labels.tolist()
    [2]
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
    if voting_iou is not None and not 0 < voting_iou <= 1:
        raise ValueError(f"nms.multiclass_nms: expected 0 < voting_iou <= 1, got {voting_iou}")
    boxes_xyxy, by_class = jnp.asarray(boxes_xyxy), jnp.asarray(scores)[:, 1:].T
    candidates = jnp.where(by_class > score_threshold, by_class, -jnp.inf)
    ranked, index = lax.top_k(candidates, min(pre_nms_top_k, A))  # [C - 1, K]
    candidates_xyxy = boxes_xyxy[index]  # [C - 1, K, 4]
    if soft:
        softened = jax.vmap(lambda b, s: soften(b, s, iou_threshold=iou_threshold))(
            candidates_xyxy, ranked
        )
        kept_scores = jnp.where(softened > score_threshold, softened, -jnp.inf)
    else:
        kept = jax.vmap(_suppress, in_axes=(0, 0, None))(
            candidates_xyxy, ranked > -jnp.inf, iou_threshold
        )
        kept_scores = jnp.where(kept, ranked, -jnp.inf)
    best_scores, best, used = _best(kept_scores.reshape(-1), max_output)
    found_xyxy = boxes_xyxy[index.reshape(-1)[best]]
    if voting_iou is not None:
        its_class = best // ranked.shape[1]
        found_xyxy = jax.vmap(_vote, in_axes=(0, 0, 0, None))(
            found_xyxy, candidates_xyxy[its_class], ranked[its_class], voting_iou
        )
    return Detections(
        boxes_xyxy=jnp.where(used[:, None], found_xyxy, 0),
        scores=jnp.where(used, best_scores, 0),
        labels=jnp.where(used, best // ranked.shape[1] + 1, 0),
        valid=used,
    )


def soften(
    boxes_xyxy: Float[AnyArray, "K 4"], scores: Float[AnyArray, " K"], *, iou_threshold: float
) -> Float[Array, " K"]:
    """Returns scores lowered by the overlap with boxes of higher score, instead of suppressed.

    Linear soft-NMS (Bodla et al., "Soft-NMS", section 3): the box of highest score is taken, and
    the score of every other that is left and overlaps it by more than the threshold is multiplied
    by 1 - IoU; then the next. Of equal scores the lowest index goes first.

    Args:
        boxes_xyxy: candidates, [K, 4].
        scores: their scores, [K]; -inf or NaN excludes a candidate.
        iou_threshold: the largest overlap that costs nothing, in [0, 1].
    """
    K = scores.shape[0]
    if boxes_xyxy.shape != (K, 4) or scores.ndim != 1:
        raise ValueError(
            f"nms.soften: expected boxes_xyxy [K, 4] and scores [K], got {boxes_xyxy.shape} and "
            f"{scores.shape}"
        )
    _require_settings("nms.soften", iou_threshold)
    iou = pairwise_iou(boxes_xyxy, boxes_xyxy)
    factor = jnp.where(iou > iou_threshold, 1 - iou, 1)
    scores = jnp.where(scores > -jnp.inf, scores, -jnp.inf)

    def take_best(_, state):
        scores, left = state
        best = jnp.argmax(jnp.where(left, scores, -jnp.inf))
        left = left.at[best].set(False)
        return jnp.where(left & (scores > -jnp.inf), scores * factor[best], scores), left

    # All that is -inf comes last and lowers nothing: it is excluded by its own -inf.
    takes_part = scores > -jnp.inf
    rounds = jnp.sum(takes_part)
    scores, _ = lax.fori_loop(0, rounds, take_best, (scores, takes_part))
    return scores


def _vote(
    box_xyxy: Float[Array, "4"],
    candidates_xyxy: Float[Array, "K 4"],
    scores: Float[Array, " K"],
    iou_threshold: float,
) -> Float[Array, "4"]:
    iou = pairwise_iou(box_xyxy[None], candidates_xyxy)[0]
    weights = jnp.where((iou >= iou_threshold) & (scores > -jnp.inf), scores, 0)
    total = weights.sum()
    return jnp.where(total > 0, weights @ candidates_xyxy / jnp.maximum(total, 1e-12), box_xyxy)


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
