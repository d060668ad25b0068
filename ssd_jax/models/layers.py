"""Layers that the backbones share: padded as the released Caffe nets are, not as 'SAME' is."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

FeatureMap = Float[Array, "B H W channels"]

# BatchNorm's running statistics: the share of the old value, and the variance's floor.
BATCH_NORM_MOMENTUM = 0.9
BATCH_NORM_EPSILON = 1e-5


def scale_channels(channels: int, width: float) -> int:
    """Returns a channel count multiplied by `width`, as a multiple of 8 and at least 8."""
    return channels if width == 1.0 else max(8, round(channels * width / 8) * 8)


class ConvReLU(nn.Module):
    """A convolution, an optional BatchNorm, and a ReLU.

    Attributes:
      channels: of the output.
      kernel, stride, padding, dilation: in pixels, the same for rows and columns.
      batch_norm: normalise before the ReLU; the convolution then has no bias.
      freeze_batch_norm: use the running statistics in training too.
      dtype: of the arithmetic; the parameters are float32.
    """

    channels: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    dilation: int = 1
    batch_norm: bool = False
    freeze_batch_norm: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap, *, train: bool) -> FeatureMap:
        """Returns the layer's output; `train` selects the batch's own statistics."""
        x = nn.Conv(
            self.channels,
            (self.kernel, self.kernel),
            strides=self.stride,
            padding=[(self.padding, self.padding)] * 2,
            kernel_dilation=self.dilation,
            use_bias=not self.batch_norm,
            kernel_init=nn.initializers.xavier_uniform(),
            dtype=self.dtype,
            name="conv",
        )(x)
        if self.batch_norm:
            x = nn.BatchNorm(
                use_running_average=self.freeze_batch_norm or not train,
                momentum=BATCH_NORM_MOMENTUM,
                epsilon=BATCH_NORM_EPSILON,
                dtype=self.dtype,
                name="bn",
            )(x)
        return nn.relu(x)


class L2Norm(nn.Module):
    """Normalises each pixel's channels to unit length and scales them by learned factors.

    ParseNet's layer as SSD uses it on conv4_3, whose features are larger than the later ones
    (SSD, section 3.1; the epsilon inside the root is the released code's).

    Attributes:
      initial_scale: of every channel.
    """

    initial_scale: float = 20.0
    epsilon: float = 1e-10

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Returns the normalised features in the input's dtype, computed in float32."""
        scale = self.param("scale", nn.initializers.constant(self.initial_scale), (x.shape[-1],))
        wide = x.astype(jnp.float32)
        norm = jax.lax.rsqrt(jnp.sum(wide * wide, axis=-1, keepdims=True) + self.epsilon)
        return (wide * norm * scale).astype(x.dtype)


def max_pool(x: FeatureMap, *, window: int, stride: int, padding: int = 0) -> FeatureMap:
    """Max pooling with Caffe's ceiling: the last window may hang over the edge (75 -> 38)."""
    pads = []
    for size in x.shape[1:3]:
        windows = -(-(size + 2 * padding - window) // stride) + 1
        # Caffe drops a last window that would begin beyond the picture and its left padding.
        if (windows - 1) * stride >= size + padding:
            windows -= 1
        pads.append((padding, max(0, (windows - 1) * stride + window - size - padding)))
    return nn.max_pool(x, (window, window), (stride, stride), pads)
