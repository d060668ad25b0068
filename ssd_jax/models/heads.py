"""The convolutions that read predictions off a feature map."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ssd_jax.models.layers import Conv, ConvLayer, FeatureMap, Style
from ssd_jax.types import Predictions


class MultiboxHead(nn.Module):
    """Offsets and class scores for every default box of one feature map (SSD, section 2.1).

    Attributes:
      boxes_per_cell: k.
      num_classes: C, background included.
      kernel: of the convolutions, pixels.
      separable: SSDLite's form: a depthwise convolution of that kernel, then a 1x1 convolution.
      style: of the depthwise convolution; its dtype also of the others. The results are float32.
    """

    boxes_per_cell: int
    num_classes: int
    kernel: int = 3
    separable: bool = False
    style: Style = Style()

    @nn.compact
    def __call__(self, features: FeatureMap, *, train: bool) -> Predictions:
        """Returns offsets [B, H*W*k, 4] and logits [B, H*W*k, C]: rows, columns, then boxes."""

        def predict(name: str, values: int) -> Float[Array, "B N values"]:
            x, kernel = features, self.kernel
            if self.separable:
                layer = ConvLayer(
                    kernel=kernel, depthwise=True, style=self.style, name=f"{name}_depthwise"
                )
                x, kernel = layer(x, train=train), 1
            return read_boxes(x, self.boxes_per_cell, values, kernel, self.style, name)

        return Predictions(predict("offsets", 4), predict("logits", self.num_classes))


def read_boxes(
    features: FeatureMap, boxes_per_cell: int, values: int, kernel: int, style: Style, name: str
) -> Float[Array, "B N values"]:
    """Returns `values` numbers for every box of a map; call it inside a module's `__call__`.

    Args:
      features: [B, H, W, channels].
      boxes_per_cell: k.
      values: for each box.
      kernel: of the convolution, pixels.
      style: its dtype; the result is float32.
      name: of the convolution in the parameters.

    Returns:
      [B, H*W*k, values]: rows, columns, then boxes.
    """
    padding = (kernel // 2, kernel // 2)
    conv = Conv(boxes_per_cell * values, kernel, (padding, padding), dtype=style.dtype, name=name)
    return conv(features).reshape(features.shape[0], -1, values).astype(jnp.float32)
