"""Layers that the backbones share: padded as the released Caffe nets are, not as 'SAME' is."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ssd_jax.models.batch_norm import BatchNorm
from ssd_jax.models.depthwise import DepthwiseConv, FeatureMap, Padding


@dataclasses.dataclass(frozen=True)
class Style:
    """What all convolutions of a network have in common.

    Attributes:
      batch_norm: after every convolution, which then has no bias.
      freeze_batch_norm: use the running statistics in training too.
      folded: only a bias is left of BatchNorm; the kernels hold the rest (see `fold`).
      momentum, epsilon: of BatchNorm: the old value's share in the running statistics, and the
        variance's floor.
      same_padding: pad as TensorFlow's "SAME" does; otherwise symmetrically, as Caffe and PyTorch.
      relu6: cut the activations off at 6.
      initial_deviation: of Gaussian weights; None: Xavier's.
      dtype: of the arithmetic; the parameters are float32.
    """

    batch_norm: bool = False
    freeze_batch_norm: bool = False
    folded: bool = False
    momentum: float = 0.9
    epsilon: float = 1e-5
    same_padding: bool = False
    relu6: bool = False
    initial_deviation: float | None = None
    dtype: Any = jnp.float32


# Of the convolutions with BatchNorm that DSSD and RefineDet add to ResNet-101, as released.
ADDED_DEVIATION = 0.01

# What detectors hold of a network; the name keeps Flax inside models/.
Network = nn.Module


def scale_channels(channels: int, width: float) -> int:
    """Returns a channel count multiplied by `width`, as a multiple of 8 and at least 8.

    Rounded as the released MobileNets are: to the nearest, but never down by more than a tenth.
    """
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return channels if width == 1.0 else rounded + 8 * (rounded < 0.9 * scaled)


class Conv(nn.Module):
    """A plain convolution with Xavier or Gaussian weights and zero bias.

    Attributes:
      channels: of the output.
      kernel, stride, dilation: in pixels, the same for rows and columns.
      padding: (before, after) of rows and of columns, pixels.
      use_bias: add one.
      initial_deviation: of Gaussian weights; None: Xavier's.
      dtype: of the arithmetic; the parameters are float32.
    """

    channels: int
    kernel: int
    padding: Padding
    stride: int = 1
    dilation: int = 1
    use_bias: bool = True
    initial_deviation: float | None = None
    dtype: Any = jnp.float32

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
    """Returns `x @ kernel`, with a gradient that is fast on a CPU, too."""
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


class ConvLayer(nn.Module):
    """A convolution, an optional BatchNorm, and an activation.

    Attributes:
      channels: of the output; a depthwise convolution keeps the input's.
      kernel, stride, dilation: in pixels, the same for rows and columns.
      padding: pixels on every side; by default what keeps the size at stride 1. Ignored where the
        style is "SAME".
      depthwise: one kernel per channel.
      activation: off for the linear end of a block.
      style: see `Style`.
    """

    channels: int = 0
    kernel: int = 3
    stride: int = 1
    padding: int | None = None
    dilation: int = 1
    depthwise: bool = False
    activation: bool = True
    style: Style = Style()

    @nn.compact
    def __call__(self, x: FeatureMap, *, train: bool) -> FeatureMap:
        """Returns the layer's output; `train` selects the batch's own statistics."""
        style = self.style
        padding = self._padding(x.shape[1:3])
        if self.depthwise:
            x = DepthwiseConv(self.kernel, self.stride, padding, style.dtype, name="conv")(x)
        else:
            x = Conv(
                self.channels,
                self.kernel,
                padding,
                self.stride,
                self.dilation,
                use_bias=not style.batch_norm,
                initial_deviation=style.initial_deviation,
                dtype=style.dtype,
                name="conv",
            )(x)
        if style.batch_norm and style.folded:
            x = Bias(style.dtype, name="bn")(x)
        elif style.batch_norm:
            norm = BatchNorm(style.momentum, style.epsilon, style.dtype, name="bn")
            x = norm(x, use_running_average=style.freeze_batch_norm or not train)
        if not self.activation:
            return x
        return nn.relu6(x) if style.relu6 else nn.relu(x)

    def _padding(self, size: tuple[int, int]) -> Padding:
        extent = (self.kernel - 1) * self.dilation + 1
        if not self.style.same_padding:
            pad = extent // 2 if self.padding is None else self.padding
            return (pad, pad), (pad, pad)
        # TensorFlow: ceil(size / stride) outputs; what is missing is added, the odd pixel after.
        missing = [max(0, (-(-n // self.stride) - 1) * self.stride + extent - n) for n in size]
        rows, columns = missing
        return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)


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


def max_pool(
    x: FeatureMap, *, window: int, stride: int, padding: int = 0, ceil: bool = True
) -> FeatureMap:
    """Max pooling; with Caffe's ceiling the last window may hang over the edge (75 -> 38)."""
    pads = []
    for size in x.shape[1:3]:
        extent = size + 2 * padding - window
        windows = (-(-extent // stride) if ceil else extent // stride) + 1
        # Caffe drops a last window that would begin beyond the picture and its left padding.
        if (windows - 1) * stride >= size + padding:
            windows -= 1
        pads.append((padding, max(0, (windows - 1) * stride + window - size - padding)))
    return nn.max_pool(x, (window, window), (stride, stride), pads)


class Deconv(nn.Module):
    """A transposed convolution without padding: n pixels become (n - 1) * stride + kernel.

    Attributes:
      channels: of the output.
      kernel, stride: pixels.
      use_bias: add one.
      dtype: of the arithmetic; the parameters are float32.
    """

    channels: int
    kernel: int = 2
    stride: int = 2
    use_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Returns the larger map; the parameter `kernel` is [rows, columns, in, out].

        Tap (0, 0) lands on the upper left of a pixel's square, as in Caffe and PyTorch.
        """
        shape = (self.kernel, self.kernel, x.shape[-1], self.channels)
        kernel = self.param("kernel", nn.initializers.xavier_uniform(), shape, jnp.float32)
        # conv_transpose correlates: turned round, so that taps land where they stand.
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
