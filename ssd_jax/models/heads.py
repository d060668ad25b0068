"""The convolutions that read predictions off a feature map."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from ssd_jax.models.layers import FeatureMap
from ssd_jax.types import Predictions


class MultiboxHead(nn.Module):
    """Offsets and class scores for every default box of one feature map (SSD, section 2.1).

    Attributes:
      boxes_per_cell: k.
      num_classes: C, background included.
      dtype: of the convolutions; the results are float32.
    """

    boxes_per_cell: int
    num_classes: int
    kernel: int = 3
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: FeatureMap) -> Predictions:
        """Returns offsets [B, H*W*k, 4] and logits [B, H*W*k, C]: rows, columns, then boxes."""

        def predict(name: str, values: int) -> FeatureMap:
            x = nn.Conv(
                self.boxes_per_cell * values,
                (self.kernel, self.kernel),
                padding=[(self.kernel // 2, self.kernel // 2)] * 2,
                kernel_init=nn.initializers.xavier_uniform(),
                dtype=self.dtype,
                name=name,
            )(features)
            return x.reshape(x.shape[0], -1, values).astype(jnp.float32)

        return Predictions(predict("offsets", 4), predict("logits", self.num_classes))
