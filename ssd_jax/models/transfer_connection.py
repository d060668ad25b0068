"""RefineDet's transfer connection block (section 3.1, figure 2)."""

from flax import linen as nn

from ssd_jax.models.layers import ConvLayer, Deconv, FeatureMap, Style


class TransferConnection(nn.Module):
    """Turns a map of the anchor refinement into one of the detection, with what lies deeper.

    Attributes:
      channels: of every convolution.
      style: of the convolutions; the deconvolution has no BatchNorm.
    """

    channels: int
    style: Style = Style()

    @nn.compact
    def __call__(
        self, x: FeatureMap, deeper: FeatureMap | None = None, *, train: bool
    ) -> FeatureMap:
        """Returns a map of the same size.

        Args:
          x: the anchor refinement's map.
          deeper: the next block's output, half the size; None for the last block.
          train: see ConvLayer.

        Raises:
          ValueError: where the next map is not half as large.
        """
        style = self.style
        x = ConvLayer(self.channels, style=style, name="conv1")(x, train=train)
        if deeper is None:
            x = ConvLayer(self.channels, style=style, name="conv2")(x, train=train)
        else:
            sizes = x.shape[1:3], deeper.shape[1:3]
            if sizes[0] != tuple(2 * n for n in sizes[1]):
                raise ValueError(
                    f"config.model.image_size: maps of {sizes[0]} and {sizes[1]} follow each "
                    "other, but a transfer connection doubles a map; take a size whose maps "
                    "halve, such as a multiple of 64"
                )
            x = ConvLayer(self.channels, activation=False, style=style, name="conv2")(
                x, train=train
            )
            x = nn.relu(x + Deconv(self.channels, dtype=style.dtype, name="up")(deeper))
        return ConvLayer(self.channels, style=style, name="conv3")(x, train=train)
