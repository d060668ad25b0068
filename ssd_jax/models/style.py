"""What all convolutions of a network have in common."""

import dataclasses
from typing import Any, Self

import jax.numpy as jnp
from flax import linen as nn

# Detectors hold a module under this name, which keeps Flax inside models/.
Network = nn.Module

# DSSD and RefineDet draw the convolutions that they add to ResNet-101 with this deviation.
ADDED_DEVIATION = 0.01


@dataclasses.dataclass(frozen=True)
class Style:
    """The traits that the convolutions of a network share.

    Attributes:
        width: multiplies every channel count but the heads'.
        batch_norm: put BatchNorm after every convolution, which then has no bias.
        freeze_batch_norm: use the running statistics in training too.
        folded: keep only a bias of BatchNorm; the kernels hold the rest (see `folding`).
        momentum: the old value's share in BatchNorm's running statistics.
        epsilon: the floor of BatchNorm's variance.
        batch_norm_group: how many devices share BatchNorm's statistics; 0 means all of them.
        same_padding: pad as TensorFlow's "SAME" does; otherwise symmetrically, as Caffe does.
        relu6: cut the activations off at 6.
        initial_deviation: draw Gaussian weights of this deviation; None means Xavier's.
        dtype: the type of the arithmetic; the parameters are float32.
    """

    width: float = 1.0
    batch_norm: bool = False
    freeze_batch_norm: bool = False
    folded: bool = False
    momentum: float = 0.9
    epsilon: float = 1e-5
    batch_norm_group: int = 0
    same_padding: bool = False
    relu6: bool = False
    initial_deviation: float | None = None
    dtype: Any = jnp.float32

    def channels(self, count: int) -> int:
        """Returns a channel count multiplied by `width`, as a multiple of 8 and at least 8.

        It rounds as the released MobileNets do: to the nearest, never down by more than a tenth.
        """
        scaled = count * self.width
        rounded = max(8, int(scaled + 4) // 8 * 8)
        return count if self.width == 1.0 else rounded + 8 * (rounded < 0.9 * scaled)

    def added(self) -> Self:
        """Returns the style of the layers that DSSD and RefineDet add to a ResNet."""
        return dataclasses.replace(self, initial_deviation=ADDED_DEVIATION)
