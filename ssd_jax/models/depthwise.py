"""Depthwise convolution, by the implementation that is fast on the platform it runs on.

XLA's own is right for accelerators. On a CPU it is ten to forty times slower than a sum of
shifted products, which XLA fuses into one loop; the gradient of the kernel, a sum over all pixels,
is fast there only as an explicit loop over rows. Both give the same values and gradients, up to the
order of the sums.
"""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

FeatureMap = Float[Array, "B H W channels"]
Kernel = Float[Array, "rows columns 1 channels"]
Padding = tuple[tuple[int, int], tuple[int, int]]  # (before, after) of rows and columns, pixels


class DepthwiseConv(nn.Module):
    """A convolution of every channel with a kernel of its own, without a bias."""

    kernel: int  # pixels, the same for rows and columns, as the stride
    stride: int
    padding: Padding
    dtype: Any = jnp.float32  # of the arithmetic; the kernel is float32

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Returns the convolved map; the parameter `kernel` is [rows, columns, 1, channels]."""
        # A channel sees kernel^2 values: fan-in and fan-out without the other channels.
        init = nn.initializers.variance_scaling(
            2.0, "fan_in", "truncated_normal", in_axis=(0, 1), out_axis=2, batch_axis=3
        )
        shape = (self.kernel, self.kernel, 1, x.shape[-1])
        kernel = self.param("kernel", init, shape, jnp.float32)
        return depthwise(x.astype(self.dtype), kernel.astype(self.dtype), self.stride, self.padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def depthwise(x: FeatureMap, kernel: Kernel, stride: int, padding: Padding) -> FeatureMap:
    """Returns the depthwise convolution (cross-correlation, as in every framework) of a map.

    The kernel has the map's dtype; the stride is in pixels.
    """
    options = {"stride": stride, "padding": padding}
    return jax.lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_shifted, **options),
        default=functools.partial(_convolution, **options),
    )


def _forward(
    x: FeatureMap, kernel: Kernel, stride: int, padding: Padding
) -> tuple[FeatureMap, tuple[FeatureMap, Kernel]]:
    return depthwise(x, kernel, stride, padding), (x, kernel)


def _backward(
    stride: int, padding: Padding, saved: tuple[FeatureMap, Kernel], cotangent: FeatureMap
) -> tuple[FeatureMap, Kernel]:
    options = {"stride": stride, "padding": padding}
    return jax.lax.platform_dependent(
        *saved,
        cotangent,
        cpu=functools.partial(_shifted_gradients, **options),
        default=functools.partial(_convolution_gradients, **options),
    )


depthwise.defvjp(_forward, _backward)


def _convolution(x: FeatureMap, kernel: Kernel, *, stride: int, padding: Padding) -> FeatureMap:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def _convolution_gradients(
    x: FeatureMap, kernel: Kernel, cotangent: FeatureMap, *, stride: int, padding: Padding
) -> tuple[FeatureMap, Kernel]:
    forward = functools.partial(_convolution, stride=stride, padding=padding)
    _, transpose = jax.vjp(forward, x, kernel)
    return transpose(cotangent)


def _shifted(x: FeatureMap, kernel: Kernel, *, stride: int, padding: Padding) -> FeatureMap:
    rows, columns = kernel.shape[:2]
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    height = (x.shape[1] - rows) // stride + 1
    width = (x.shape[2] - columns) // stride + 1
    return sum(
        x[:, i : i + (height - 1) * stride + 1 : stride, j : j + (width - 1) * stride + 1 : stride]
        * kernel[i, j, 0]
        for i, j in itertools.product(range(rows), range(columns))
    )


def _shifted_gradients(
    x: FeatureMap, kernel: Kernel, cotangent: FeatureMap, *, stride: int, padding: Padding
) -> tuple[FeatureMap, Kernel]:
    # The barrier keeps what leads to the cotangent out of the loops below.
    cotangent = jax.lax.optimization_barrier(cotangent)
    rows, columns, _, channels = kernel.shape
    batch, height, width, _ = cotangent.shape

    # The map's: the cotangent, spread by the stride and convolved with the kernel turned round.
    spread = [(0, 0, 0)]
    for extent, size, steps, (before, _) in zip(
        (rows, columns), x.shape[1:3], (height, width), padding, strict=True
    ):
        low = extent - 1 - before
        high = size + extent - 1 - low - ((steps - 1) * stride + 1)
        spread.append((low, high, stride - 1))
    spread.append((0, 0, 0))
    zero = jnp.zeros((), cotangent.dtype)
    of_map = _shifted(
        jax.lax.pad(cotangent, zero, spread),
        kernel[::-1, ::-1],
        stride=1,
        padding=((0, 0), (0, 0)),
    )

    # The kernel's: row by row, a sum for every tap and column. The columns are summed last, and
    # each image stays by itself, so that a split batch stays split.
    padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    taps = tuple(itertools.product(range(rows), range(columns)))

    def add_row(row: Array, totals: list[Array]) -> list[Array]:
        outer = jax.lax.dynamic_slice_in_dim(padded, row * stride, rows, axis=1)
        inner = jax.lax.dynamic_index_in_dim(cotangent, row, axis=1, keepdims=False)
        return [
            total + outer[:, i, j : j + (width - 1) * stride + 1 : stride] * inner
            for total, (i, j) in zip(totals, taps, strict=True)
        ]

    zeros = [jnp.zeros((batch, width, channels), jnp.float32) for _ in taps]
    totals = jax.lax.fori_loop(0, height, add_row, zeros)
    of_kernel = jnp.stack([total.sum(axis=(0, 1)) for total in totals])
    return of_map, of_kernel.reshape(kernel.shape).astype(kernel.dtype)
