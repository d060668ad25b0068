"""The losses of one image's anchors, and their normalisation over a batch.

Everything is computed in float32 and returned as sums, because the paper divides by the number of
matched anchors of the whole batch, which `normalize` does.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from ssd_jax.ops.coding import VARIANCES, encode
from ssd_jax.ops.mining import hard_negatives
from ssd_jax.types import AnyArray, LossTerms, Matches


def smooth_l1(x: Float[AnyArray, "*N"]) -> Float[Array, "*N"]:
    """Returns x^2 / 2 where |x| < 1 and |x| - 1/2 elsewhere (Fast R-CNN, section 2.3).

    >>> smooth_l1(jnp.array([0.5, -3.0])).tolist()
    [0.125, 2.5]
    """
    magnitude = jnp.abs(x)
    return jnp.where(magnitude < 1, 0.5 * jnp.square(x), magnitude - 0.5)


def l2(x: Float[AnyArray, "*N"]) -> Float[Array, "*N"]:
    """Returns x^2 / 2, which is `smooth_l1` without its linear part.

    >>> l2(jnp.array([0.5, -3.0])).tolist()
    [0.125, 4.5]
    """
    return 0.5 * jnp.square(x)


def softmax_cross_entropy(
    logits: Float[AnyArray, "*N C"], labels: Int[AnyArray, "*N"]
) -> Float[Array, "*N"]:
    """Returns -log of the softmax probability of each label.

    Args:
        logits: unnormalised scores of the classes, background first.
        labels: class numbers, 0 .. C-1; one of C or more gives NaN, and so cannot go unseen.

    >>> round(float(softmax_cross_entropy(jnp.zeros(4), jnp.array(0))), 4)  # log 4
    1.3863
    """
    return -_log_probability(logits, labels)


def focal(
    logits: Float[AnyArray, "*N C"],
    labels: Int[AnyArray, "*N"],
    *,
    alpha: float = 0.25,
    gamma: float | int = 2.0,
) -> Float[Array, "*N"]:
    """Returns the focal loss -w (1 - p)^gamma log p, with p the softmax probability of the label.

    The paper (Lin et al., "Focal Loss for Dense Object Detection", section 3) gives it for
    independent sigmoids. This is the same loss for the softmax over background and objects that
    the heads here are trained and read with; the weight w is alpha for objects and 1 - alpha for
    background. It is meant to replace hard negative mining.

    Args:
        logits: unnormalised scores of the classes, background first.
        labels: class numbers, 0 .. C-1.
        alpha: the weight of objects, in [0, 1].
        gamma: the exponent that takes weight from easy examples, >= 0.

    Raises:
        ValueError: alpha or gamma is out of its range.

    >>> round(float(focal(jnp.zeros(2), jnp.array(1))), 4)  # .25 * .5^2 * log 2
    0.0433
    """
    if not 0 <= alpha <= 1 or not gamma >= 0:
        raise ValueError(
            f"losses.focal: expected alpha in [0, 1] and gamma >= 0, got {alpha} and {gamma}"
        )
    log_p = _log_probability(logits, labels)
    # Above 0, where the derivative of a power below 1 is infinite.
    error = jnp.maximum(-jnp.expm1(log_p), 1e-12)
    weight = jnp.where(labels > 0, alpha, 1 - alpha)
    return -weight * error**gamma * log_p


def multibox(
    offsets: Float[AnyArray, "A 4"],
    logits: Float[AnyArray, "A C"],
    gt_boxes_xyxy: Float[AnyArray, "G 4"],
    gt_labels: Int[AnyArray, " G"],
    matches: Matches,
    anchors_cxcywh: Float[AnyArray, "A 4"],
    *,
    eligible: Bool[AnyArray, " A"] | None = None,
    negative_iou: float = 0.5,
    negative_ratio: float | int | None = 3.0,
    localization: str | Callable = "smooth_l1",
    confidence: str | Callable = "softmax",
    alpha: float | int = 1.0,
    focal_alpha: float = 0.25,
    focal_gamma: float | int = 2.0,
    variances: tuple[float, float, float, float] = VARIANCES,
) -> LossTerms:
    """Returns the loss of one image's predictions (SSD paper, section 2.2), as sums over anchors.

    The localisation loss is taken over the matched anchors; the confidence loss over those and the
    negatives of largest -log p(background). An image in which nothing is matched has a loss of 0,
    with a gradient of exactly 0.

    Args:
        offsets: predicted offsets, [A, 4].
        logits: predicted class scores before the softmax, [A, C].
        gt_boxes_xyxy: the objects, [G, 4], normalised.
        gt_labels: their classes, [G], 1 .. C-1; of padded slots, anything.
        matches: what `matching.match` says of these objects and anchors.
        anchors_cxcywh: the anchors, [A, 4], normalised.
        eligible: anchors that may be negatives, [A]; all by default.
        negative_iou: an anchor whose best IoU reaches this is not a negative.
        negative_ratio: how many negatives to keep for each positive; None keeps all of them in
            images with a positive, which is what the focal loss is made for.
        localization: 'smooth_l1', 'l2', or a function of the errors [A, 4].
        confidence: 'softmax', 'focal', or a function of the logits [A, C] and the labels [A].
        alpha: the weight of the localisation loss in the total.
        focal_alpha: `alpha` of `focal`.
        focal_gamma: `gamma` of `focal`.
        variances: those of the offsets.

    Returns:
        Sums over the anchors, and the number of positives; for `normalize`.

    Raises:
        ValueError: shapes that do not fit each other, or an unknown name of a loss.
    """
    A, G = anchors_cxcywh.shape[0], gt_labels.shape[0]
    shapes = [x.shape for x in (offsets, gt_boxes_xyxy, matches.positive, anchors_cxcywh)]
    if shapes != [(A, 4), (G, 4), (A,), (A, 4)] or logits.ndim != 2 or logits.shape[0] != A:
        raise ValueError(
            "losses.multibox: expected offsets [A, 4], gt_boxes_xyxy [G, 4], matches [A], "
            f"anchors_cxcywh [A, 4] and logits [A, C], got {shapes} and {logits.shape}"
        )
    localization_loss = _named("localization", localization, {"smooth_l1": smooth_l1, "l2": l2})
    confidence_loss = _named(
        "confidence",
        confidence,
        {
            "softmax": softmax_cross_entropy,
            "focal": functools.partial(focal, alpha=focal_alpha, gamma=focal_gamma),
        },
    )
    if gt_labels.shape[0] == 0:  # matches.gt_index has nothing to point at
        return LossTerms(*[jnp.zeros((), jnp.float32)] * 4)

    offsets, logits = jnp.asarray(offsets, jnp.float32), jnp.asarray(logits, jnp.float32)
    gt_index, positive, iou = matches
    labels = jnp.where(positive, jnp.asarray(gt_labels)[gt_index], 0)
    targets = encode(jnp.asarray(gt_boxes_xyxy)[gt_index], anchors_cxcywh, variances=variances)
    # Masked before the loss: what a padded slot holds is never computed with.
    errors = jnp.where(positive[:, None], offsets - lax.stop_gradient(targets), 0)

    negative = ~positive & (iou < negative_iou)
    if eligible is not None:
        negative &= eligible
    if negative_ratio is None:
        negative &= positive.any()
    else:
        ranked_by = lax.stop_gradient(jax.nn.logsumexp(logits, axis=-1) - logits[:, 0])
        negative = hard_negatives(ranked_by, positive, negative, ratio=negative_ratio)

    localization_sum = jnp.sum(localization_loss(errors))
    confidence_sum = jnp.sum(jnp.where(positive | negative, confidence_loss(logits, labels), 0))
    return LossTerms(
        total=confidence_sum + alpha * localization_sum,
        localization=localization_sum,
        confidence=confidence_sum,
        num_positives=jnp.sum(positive, dtype=jnp.float32),
    )


def normalize(terms: LossTerms) -> LossTerms:
    """Returns the loss of a batch: the sums of its images over the count of all their positives.

    Args:
        terms: what `multibox` returned for each image, stacked, each part [B]; or sums of it.

    Returns:
        Scalars: each part summed and divided by max(1, number of positives), and that number.
    """
    sums = jax.tree.map(jnp.sum, terms)
    count = jnp.maximum(sums.num_positives, 1)
    return LossTerms(
        total=sums.total / count,
        localization=sums.localization / count,
        confidence=sums.confidence / count,
        num_positives=sums.num_positives,
    )


def _named(argument: str, name: str | Callable, losses: dict[str, Callable]) -> Callable:
    """Returns the loss of this name, or the given function."""
    if callable(name):
        return name
    if name not in losses:
        raise ValueError(
            f"losses.multibox: expected {argument} to be one of {list(losses)}, got {name!r}"
        )
    return losses[name]


def _log_probability(
    logits: Float[AnyArray, "*N C"], labels: Int[AnyArray, "*N"]
) -> Float[Array, "*N"]:
    """Returns the logarithm of the softmax probability of each label, at most 0, in float32."""
    if logits.ndim == 0 or logits.shape[:-1] != labels.shape:
        raise ValueError(
            f"losses: expected logits [..., C] and labels [...], got {logits.shape} and "
            f"{labels.shape}"
        )
    logits = jnp.asarray(logits, jnp.float32)
    chosen = jnp.take_along_axis(logits, jnp.asarray(labels)[..., None], axis=-1).squeeze(-1)
    return chosen - jax.nn.logsumexp(logits, axis=-1)
