"""DSSD's deconvolution module (DSSD, section 3.3 and figure 3)."""

import dataclasses

from flax import linen as nn

from ssd_jax.models.layers import ADDED_DEVIATION, ConvLayer, Deconv, FeatureMap, Style

COMBINATIONS = ("product", "sum")


class DeconvolutionModule(nn.Module):
    """Enlarges a deep map and joins it with the next finer one of SSD.

    Attributes:
      channels: of every convolution.
      combination: of the two paths, one of COMBINATIONS.
      style: of the convolutions; the deconvolution has neither BatchNorm nor ReLU.
    """

    channels: int
    combination: str = "product"
    style: Style = Style(batch_norm=True)

    @nn.compact
    def __call__(self, finer: FeatureMap, deeper: FeatureMap, *, train: bool) -> FeatureMap:
        """Returns a map of the finer one's size.

        Args:
          finer: SSD's map.
          deeper: the next deeper module's map: half the size, or two pixels smaller.
          train: see ConvLayer.

        Raises:
          ValueError: for maps of other sizes.
        """
        style = dataclasses.replace(self.style, initial_deviation=ADDED_DEVIATION)
        kernel, stride = _window(finer.shape[1:3], deeper.shape[1:3])
        # No bias: BatchNorm follows, with a convolution between that passes a constant on.
        up = Deconv(self.channels, kernel, stride, use_bias=False, dtype=style.dtype, name="up")
        y = ConvLayer(self.channels, activation=False, style=style, name="up_conv")(
            up(deeper), train=train
        )
        x = ConvLayer(self.channels, style=style, name="skip1")(finer, train=train)
        x = ConvLayer(self.channels, activation=False, style=style, name="skip2")(x, train=train)
        return nn.relu(x * y if self.combination == "product" else x + y)


def _window(finer: tuple[int, ...], deeper: tuple[int, ...]) -> tuple[int, int]:
    """Returns kernel and stride of the deconvolution: 2 and 2, or 3 and 1 for 1 -> 3 -> 5."""
    if finer == tuple(2 * n for n in deeper):
        return 2, 2
    if finer == tuple(n + 2 for n in deeper):
        return 3, 1
    raise ValueError(
        f"config.model.image_size: maps of {finer} and {deeper} follow each other, but a "
        "deconvolution module doubles a map or adds two pixels to it; take 321 or 513, or a size "
        "whose maps do one of these"
    )
