"""RefineDet's transfer connection blocks (RefineDet, section 3.1 and figure 2)."""

import dataclasses
from collections.abc import Sequence

from flax import linen as nn

from ssd_jax.models.conv_layer import ConvLayer
from ssd_jax.models.depthwise import FeatureMap
from ssd_jax.models.style import Style
from ssd_jax.models.transposed_convolution import TransposedConv


@dataclasses.dataclass(frozen=True)
class TransferConnections:
    """RefineDet's neck, which enriches each map with the deeper ones.

    Attributes:
        channels: the channels of the blocks, before `width`.
    """

    channels: int = 256

    def module(self, style: Style) -> nn.Module:
        """Returns the network, maps -> as many maps of the same sizes."""
        return TransferConnectionsNeck(self, style)


class TransferConnectionsNeck(nn.Module):
    """The network of `TransferConnections`."""

    settings: TransferConnections
    style: Style

    @nn.compact
    def __call__(self, maps: Sequence[FeatureMap], *, train: bool) -> list[FeatureMap]:
        """Returns a map for each of the given ones, finest first; builds from the deepest up."""
        channels = self.style.channels(self.settings.channels)
        results, deeper = [], None
        for i in range(len(maps), 0, -1):
            block = TransferConnectionBlock(channels, self.style, name=f"tcb{i}")
            deeper = block(maps[i - 1], deeper, train=train)
            results.insert(0, deeper)
        return results


class TransferConnectionBlock(nn.Module):
    """Turns a map of the anchor refinement into one of the detection, with what lies deeper."""

    channels: int  # of every convolution
    style: Style  # the transposed convolution has no BatchNorm

    @nn.compact
    def __call__(
        self, x: FeatureMap, deeper: FeatureMap | None = None, *, train: bool
    ) -> FeatureMap:
        """Returns a map of the same size.

        Args:
            x: the anchor refinement's map.
            deeper: the next block's output, half the size; None in the last block.
            train: see `ConvLayer`.

        Raises:
            ValueError: where the next map is not half as large.
        """
        style, is_last = self.style, deeper is None
        x = ConvLayer(self.channels, style=style, name="conv1")(x, train=train)
        conv2 = ConvLayer(self.channels, activation=is_last, style=style, name="conv2")
        x = conv2(x, train=train)
        if not is_last:
            sizes = x.shape[1:3], deeper.shape[1:3]
            if sizes[0] != tuple(2 * n for n in sizes[1]):
                raise ValueError(
                    f"config.model.image_size: maps of {sizes[0]} and {sizes[1]} follow each "
                    "other, but a transfer connection doubles a map; take a size whose maps "
                    "halve, such as a multiple of 64"
                )
            x = nn.relu(x + TransposedConv(self.channels, dtype=style.dtype, name="up")(deeper))
        return ConvLayer(self.channels, style=style, name="conv3")(x, train=train)
