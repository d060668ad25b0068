"""The convolutions that read predictions off a feature map."""

import jax.numpy as jnp
from flax import linen as nn

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

        def predict(name: str, values: int) -> FeatureMap:
            x, kernel = features, self.kernel
            if self.separable:
                layer = ConvLayer(
                    kernel=kernel, depthwise=True, style=self.style, name=f"{name}_depthwise"
                )
                x, kernel = layer(x, train=train), 1
            padding = (kernel // 2, kernel // 2)
            x = Conv(
                self.boxes_per_cell * values,
                kernel,
                (padding, padding),
                dtype=self.style.dtype,
                name=name,
            )(x)
            return x.reshape(x.shape[0], -1, values).astype(jnp.float32)

        return Predictions(predict("offsets", 4), predict("logits", self.num_classes))
