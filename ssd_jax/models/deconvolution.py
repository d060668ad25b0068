"""DSSD's deconvolution modules (DSSD, section 3.3 and figure 3)."""

import dataclasses
from collections.abc import Sequence

from flax import linen as nn

from ssd_jax.models.conv_layer import ConvLayer
from ssd_jax.models.depthwise import FeatureMap
from ssd_jax.models.style import Style
from ssd_jax.models.transposed_convolution import TransposedConv

COMBINATIONS = ("product", "sum")


@dataclasses.dataclass(frozen=True)
class Deconvolution:
    """The neck that turns SSD into DSSD: it enlarges the maps again, from the deepest up.

    Attributes:
        combination: how a module joins its two paths, "product" or "sum".
        channels: the channels of the modules, before `width`.
    """

    combination: str = "product"
    channels: int = 512

    def __post_init__(self) -> None:
        """Refuses an unknown combination."""
        if self.combination not in COMBINATIONS:
            raise ValueError(
                f"Deconvolution.combination: expected one of {COMBINATIONS}, got "
                f"{self.combination!r}"
            )

    def module(self, style: Style) -> nn.Module:
        """Returns the network, maps -> as many maps of the same sizes."""
        return DeconvolutionNeck(self, style)


class DeconvolutionNeck(nn.Module):
    """The network of `Deconvolution`; the deepest map passes unchanged."""

    settings: Deconvolution
    style: Style

    @nn.compact
    def __call__(self, maps: Sequence[FeatureMap], *, train: bool) -> list[FeatureMap]:
        """Returns a map for each of SSD's, finest first."""
        channels = self.style.channels(self.settings.channels)
        results = [maps[-1]]
        for i in range(len(maps) - 1, 0, -1):
            module = DeconvolutionModule(
                channels, self.settings.combination, self.style, name=f"deconvolution{i}"
            )
            results.insert(0, module(maps[i - 1], results[0], train=train))
        return results


class DeconvolutionModule(nn.Module):
    """Enlarges a deep map and joins it with the next finer one of SSD."""

    channels: int  # of every convolution
    combination: str  # of the two paths, "product" or "sum"
    style: Style  # the transposed convolution has neither BatchNorm nor ReLU

    @nn.compact
    def __call__(self, finer: FeatureMap, deeper: FeatureMap, *, train: bool) -> FeatureMap:
        """Returns a map of the finer one's size.

        Args:
            finer: SSD's map.
            deeper: the next deeper module's map, half the size or two pixels smaller.
            train: see `ConvLayer`.

        Raises:
            ValueError: for maps of other sizes.
        """
        style = self.style.added()
        kernel, stride = _window(finer.shape[1:3], deeper.shape[1:3])
        # It needs no bias: the next convolution passes a constant on, and BatchNorm removes it.
        up = TransposedConv(
            self.channels, kernel, stride, use_bias=False, dtype=style.dtype, name="up"
        )
        y = ConvLayer(self.channels, activation=False, style=style, name="up_conv")(
            up(deeper), train=train
        )
        x = ConvLayer(self.channels, style=style, name="skip1")(finer, train=train)
        x = ConvLayer(self.channels, activation=False, style=style, name="skip2")(x, train=train)
        return nn.relu(x * y if self.combination == "product" else x + y)


def _window(finer: tuple[int, ...], deeper: tuple[int, ...]) -> tuple[int, int]:
    """Returns the kernel and the stride that enlarge a map: 2 and 2, or 3 and 1 (1 -> 3 -> 5)."""
    if finer == tuple(2 * n for n in deeper):
        return 2, 2
    if finer == tuple(n + 2 for n in deeper):
        return 3, 1
    raise ValueError(
        f"config.model.image_size: maps of {finer} and {deeper} follow each other, but a "
        "deconvolution module doubles a map or adds two pixels to it; take 321 or 513, or a size "
        "whose maps do one of these"
    )
