"""A transposed convolution, which enlarges a map."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from ssd_jax.models.depthwise import FeatureMap


class TransposedConv(nn.Module):
    """A transposed convolution without padding: n pixels become (n - 1) * stride + kernel."""

    channels: int
    kernel: int = 2  # pixels, as the stride
    stride: int = 2
    use_bias: bool = True
    dtype: Any = jnp.float32  # of the arithmetic; the parameters are float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Returns the larger map; the parameter `kernel` is [rows, columns, in, out].

        Tap (0, 0) lands on the upper left of a pixel's square, as in Caffe and PyTorch.
        """
        shape = (self.kernel, self.kernel, x.shape[-1], self.channels)
        kernel = self.param("kernel", nn.initializers.xavier_uniform(), shape, jnp.float32)
        # conv_transpose correlates: the kernel is turned round, so that taps land where they stand.
        x = jax.lax.conv_transpose(
            x.astype(self.dtype),
            kernel[::-1, ::-1].astype(self.dtype),
            (self.stride, self.stride),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        if not self.use_bias:
            return x
        bias = self.param("bias", nn.initializers.zeros_init(), (self.channels,), jnp.float32)
        return x + bias.astype(self.dtype)
