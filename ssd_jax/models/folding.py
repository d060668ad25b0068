"""BatchNorm with fixed statistics as part of the convolution before it (DSSD, section 3.4)."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp


def fold(
    params: Mapping[str, Any],
    batch_stats: Mapping[str, Any],
    epsilon: Callable[[tuple[str, ...]], float],
    path: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Returns the parameters of the same network with `Style(folded=True)`.

    BatchNorm's scale (w * x - mean) / sqrt(var + epsilon) + bias is a convolution whose kernel is w
    times the factor scale / sqrt(var + epsilon), and whose bias is bias - mean times the factor.

    Args:
        params: the parameters of a network with BatchNorm, or of a part of it.
        batch_stats: its statistics.
        epsilon: returns the epsilon of a layer's BatchNorm from the names that lead to it.
        path: the names that lead to `params`.
    """
    if "bn" in batch_stats:
        stats, norm = batch_stats["bn"], params["bn"]
        factor = norm["scale"] * jax.lax.rsqrt(jnp.asarray(stats["var"]) + epsilon(path))
        # The last axis of a kernel is the output's channels, of a depthwise one too.
        kernel = params["conv"]["kernel"] * factor
        return {"conv": {"kernel": kernel}, "bn": {"bias": norm["bias"] - stats["mean"] * factor}}
    folded = {
        name: fold(params[name], inner, epsilon, (*path, name))
        for name, inner in batch_stats.items()
    }
    return {**params, **folded}
