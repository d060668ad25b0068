"""Which background anchors take part in the confidence loss."""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Float, Int, UInt32

from ssd_jax.types import AnyArray


def hard_negatives(
    loss: Float[AnyArray, " A"],
    positive: Bool[AnyArray, " A"],
    eligible: Bool[AnyArray, " A"],
    *,
    ratio: float | int = 3.0,
) -> Bool[Array, " A"]:
    """Selects the eligible anchors of largest loss, a fixed number to each positive anchor.

    Exactly min(floor(ratio * number of positives), number eligible) anchors are selected; of equal
    losses, those of lowest index. The rule is that of the SSD paper, section 2.2.

    Args:
        loss: what to rank by, [A]. A NaN ranks above everything, so that a broken loss is kept,
            and seen, instead of hidden.
        positive: the anchors that are matched, [A]; they are counted and never selected.
        eligible: the anchors that may be selected, [A].
        ratio: how many to select for each positive, >= 0.

    Returns:
        The selected anchors, [A].

    Raises:
        ValueError: the shapes differ, or the ratio is negative or not finite.

    >>> loss = jnp.array([0.5, 0.1, 0.9, 0.2])
    >>> positive = jnp.array([True, False, False, False])
    >>> hard_negatives(loss, positive, ~positive, ratio=2).tolist()
    [False, False, True, True]
    """
    if not loss.shape == positive.shape == eligible.shape or loss.ndim != 1:
        raise ValueError(
            "mining.hard_negatives: expected loss, positive and eligible of one shape [A], "
            f"got {loss.shape}, {positive.shape}, {eligible.shape}"
        )
    if not 0 <= ratio < np.inf:
        raise ValueError(f"mining.hard_negatives: expected a finite ratio >= 0, got {ratio}")

    wanted = jnp.floor(ratio * jnp.sum(positive, dtype=jnp.float32))
    wanted = jnp.minimum(wanted, loss.shape[0]).astype(jnp.int32)
    key = jnp.where(eligible & ~positive, _ordered_bits(loss), 0)
    # Compared for equality below, so computed once: see matching.match.
    key = lax.optimization_barrier(key)
    cut = _kth_largest(key, wanted)

    above = key > cut
    tied = (key == cut) & (key > 0)
    tied_wanted = wanted - jnp.sum(above, dtype=jnp.int32)
    return above | (tied & (jnp.cumsum(tied, dtype=jnp.int32) <= tied_wanted))


def _kth_largest(key: UInt32[Array, " A"], k: Int[Array, ""]) -> UInt32[Array, ""]:
    """Returns the k-th largest key: 0 if there are fewer than k, the largest uint32 if k is 0.

    A bisection over the bits of the answer, from the highest: 32 counts, which take a twentieth of
    the time of a sort on CPU, and a k that is only known at run time.
    """

    def set_bit(i, cut):
        candidate = cut | (jnp.uint32(1 << 31) >> i.astype(jnp.uint32))
        return jnp.where(jnp.sum(key >= candidate, dtype=jnp.int32) >= k, candidate, cut)

    return lax.fori_loop(0, 32, set_bit, jnp.uint32(0))


def _ordered_bits(values: Float[AnyArray, " A"]) -> UInt32[Array, " A"]:
    """Returns integers > 0 in the order of float values: -0 equals 0, NaN is above infinity."""
    values = jnp.asarray(values, jnp.float32)
    values = jnp.where(values == 0, 0, jnp.where(jnp.isnan(values), jnp.nan, values))
    bits = lax.bitcast_convert_type(values, jnp.uint32)
    sign = jnp.uint32(1 << 31)
    # The bits of floats >= 0 are in their order; those of floats < 0 are in the opposite order.
    return jnp.where(bits < sign, bits | sign, ~bits)
