"""BatchNorm with fixed statistics as part of the convolution before it (DSSD, section 3.4)."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree


def fold(
    params: Mapping[str, Any],
    batch_stats: Mapping[str, Any],
    epsilon: Callable[[tuple[str, ...]], float],
) -> PyTree:
    """Returns the parameters of the same network with `Style(folded=True)`.

    scale (w * x - mean) / sqrt(var + epsilon) + bias is a convolution with w times the factor
    scale / sqrt(var + epsilon), and a bias of bias - mean times the factor.

    Args:
        params: of a network with BatchNorm.
        batch_stats: its statistics.
        epsilon: of the BatchNorm in a layer, by the names that lead to it.
    """
    return _fold(params, batch_stats, epsilon, ())


def _fold(
    params: Mapping[str, Any],
    batch_stats: Mapping[str, Any],
    epsilon: Callable[[tuple[str, ...]], float],
    path: tuple[str, ...],
) -> dict[str, Any]:
    if "bn" in batch_stats:
        stats, norm = batch_stats["bn"], params["bn"]
        factor = norm["scale"] * jax.lax.rsqrt(jnp.asarray(stats["var"]) + epsilon(path))
        # Channels of the output are a kernel's last axis, a depthwise one's too.
        kernel = params["conv"]["kernel"] * factor
        return {"conv": {"kernel": kernel}, "bn": {"bias": norm["bias"] - stats["mean"] * factor}}
    return {
        name: _fold(value, batch_stats[name], epsilon, (*path, name))
        if name in batch_stats
        else value
        for name, value in params.items()
    }
