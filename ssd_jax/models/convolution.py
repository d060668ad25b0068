"""A plain convolution, with a fast 1x1 form."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ssd_jax.models.depthwise import FeatureMap, Padding


class Conv(nn.Module):
    """A plain convolution whose weights start as Xavier's or Gaussian, and whose bias as zero."""

    channels: int
    kernel: int  # pixels, the same for rows and columns, as stride and dilation
    padding: Padding
    stride: int = 1
    dilation: int = 1
    use_bias: bool = True
    initial_deviation: float | None = None  # of Gaussian weights; None means Xavier's
    dtype: Any = jnp.float32  # of the arithmetic; the parameters are float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Returns the convolved map; parameters `kernel` [rows, columns, in, out] and `bias`."""
        shape = (self.kernel, self.kernel, x.shape[-1], self.channels)
        init = nn.initializers.xavier_uniform()
        if self.initial_deviation is not None:
            init = nn.initializers.normal(self.initial_deviation)
        kernel = self.param("kernel", init, shape, jnp.float32)
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        if self.kernel == self.stride == 1 and not any(map(any, self.padding)):
            # A matrix product: its kernel's gradient is 4 times as fast on a CPU.
            x = matmul(x, kernel[0, 0])
        else:
            x = jax.lax.conv_general_dilated(
                x,
                kernel,
                (self.stride, self.stride),
                self.padding,
                rhs_dilation=(self.dilation, self.dilation),
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
        if not self.use_bias:
            return x
        bias = self.param("bias", nn.initializers.zeros_init(), (self.channels,), jnp.float32)
        return x + bias.astype(self.dtype)


@jax.custom_vjp
def matmul(x: FeatureMap, kernel: Float[Array, "inputs outputs"]) -> FeatureMap:
    """Returns `x @ kernel`, whose gradient is fast on a CPU too."""
    return x @ kernel


def _matmul_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return matmul(x, kernel), (x, kernel)


def _matmul_backward(saved: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    x, kernel = saved
    # Without the barrier XLA computes what leads to it a second time, transposed.
    cotangent = jax.lax.optimization_barrier(cotangent)
    pixels = tuple(range(x.ndim - 1))
    of_kernel = jax.lax.dot_general(x, cotangent, ((pixels, pixels), ((), ())))
    return cotangent @ kernel.T, of_kernel


matmul.defvjp(_matmul_forward, _matmul_backward)
