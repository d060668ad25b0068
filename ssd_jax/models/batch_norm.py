"""BatchNorm with a gradient in closed form.

Differentiating the definition gives XLA reductions that it fuses with all that leads to them; on
a CPU these are slow, and BatchNorm became the largest part of a MobileNet's training step. The
closed form needs two plain sums over the map, and is as good on an accelerator.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ssd_jax import sharding

FeatureMap = Float[Array, "B H W channels"]
PerChannel = Float[Array, " channels"]


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe & Szegedy, algorithm 1) of the last axis.

    Where a shard_map splits the batch over devices, groups of them share their statistics; the
    running statistics then differ between groups, and the train step averages them. Parameters
    `scale` and `bias`; statistics `mean` and `var`, float32.

    Attributes:
        momentum: the old value's share in the running statistics.
        epsilon: added to the variance.
        dtype: of the result; the statistics are computed in float32.
        group: how many devices share their statistics; 0 means all of them.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Any = jnp.float32
    group: int = 0

    @nn.compact
    def __call__(self, x: FeatureMap, *, use_running_average: bool) -> FeatureMap:
        """Returns the normalised map, by the batch's statistics or by the running ones."""
        shape = (x.shape[-1],)
        ones, zeros = jnp.ones, jnp.zeros
        mean = self.variable("batch_stats", "mean", zeros, shape, jnp.float32)
        var = self.variable("batch_stats", "var", ones, shape, jnp.float32)
        scale = self.param("scale", nn.initializers.ones_init(), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros_init(), shape, jnp.float32)
        if use_running_average:
            factor = scale * jax.lax.rsqrt(var.value + self.epsilon)
            y = x.astype(jnp.float32) * factor + (bias - mean.value * factor)
            return y.astype(self.dtype)
        y, batch_mean, batch_var = normalize_by_batch(x, scale, bias, self.epsilon, self.group)
        if not self.is_initializing():
            # Flax and TensorFlow keep the batch's own (biased) variance, PyTorch the unbiased one.
            mean.value = self.momentum * mean.value + (1 - self.momentum) * batch_mean
            var.value = self.momentum * var.value + (1 - self.momentum) * batch_var
        return y.astype(self.dtype)


class Bias(nn.Module):
    """What is left of a folded BatchNorm.

    Attributes:
        dtype: of the arithmetic; the parameter is float32.
    """

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Returns the map plus a value for each channel."""
        bias = self.param("bias", nn.initializers.zeros_init(), (x.shape[-1],), jnp.float32)
        return x + bias.astype(self.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def normalize_by_batch(
    x: FeatureMap, scale: PerChannel, bias: PerChannel, epsilon: float, group: int = 0
) -> tuple[FeatureMap, PerChannel, PerChannel]:
    """Normalises every channel of a batch to the given bias and scale.

    No gradient flows through the mean and the variance that it returns for the running statistics.
    The gradients of scale and bias are those of this device's part of the batch.

    Returns:
        The normalised map in float32, the mean and the (biased) variance of every channel.
    """
    wide = x.astype(jnp.float32)
    # As Flax and TensorFlow do: two sums over the map at once, and no centred copy of it, which
    # on a CPU takes as long as the rest. Rounding can make a tiny variance negative.
    sums = jnp.sum(wide, axis=(0, 1, 2)), jnp.sum(wide * wide, axis=(0, 1, 2))
    mean, square = _mean_of_group(sums, x, group)
    var = jnp.maximum(0.0, square - mean * mean)
    factor = scale * jax.lax.rsqrt(var + epsilon)
    return wide * factor + (bias - mean * factor), mean, var


def _mean_of_group(
    sums: tuple[PerChannel, PerChannel], x: FeatureMap, group: int
) -> tuple[PerChannel, PerChannel]:
    """Returns sums over this device's map as means over the maps of its group."""
    count, shards = x.size // x.shape[-1], sharding.num_shards()
    size = min(group or shards, shards)
    if size > 1:
        groups = [list(range(i, i + size)) for i in range(0, shards, size)]
        sums = jax.lax.psum(
            sums, sharding.AXIS, axis_index_groups=groups if size < shards else None
        )
    return sums[0] / count / size, sums[1] / count / size


def _forward(
    x: FeatureMap, scale: PerChannel, bias: PerChannel, epsilon: float, group: int
) -> tuple[tuple[FeatureMap, PerChannel, PerChannel], tuple]:
    y, mean, var = normalize_by_batch(x, scale, bias, epsilon, group)
    return (y, mean, var), (x, mean, var, scale)


def _backward(epsilon: float, group: int, saved: tuple, cotangents: tuple) -> tuple:
    x, mean, var, scale = saved
    # The barrier keeps what leads to the cotangent out of the loop of the sums.
    cotangent = jax.lax.optimization_barrier(cotangents[0])
    centred = x.astype(jnp.float32) - mean
    inverse = jax.lax.rsqrt(var + epsilon)
    of_bias = jnp.sum(cotangent, axis=(0, 1, 2))
    of_scale = jnp.sum(cotangent * centred, axis=(0, 1, 2)) * inverse
    # d/dx = scale * inverse * (dy - mean(dy) - normalised x * mean(dy * normalised x))
    mean_bias, mean_scale = _mean_of_group((of_bias, of_scale), x, group)
    projected = cotangent - mean_bias - centred * (inverse * mean_scale)
    return (scale * inverse * projected).astype(x.dtype), of_scale, of_bias


normalize_by_batch.defvjp(_forward, _backward)
