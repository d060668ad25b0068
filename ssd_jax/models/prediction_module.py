"""DSSD's prediction modules: what stands between a map and its head (DSSD, figure 2)."""

import dataclasses

from flax import linen as nn

from ssd_jax.models.layers import ADDED_DEVIATION, FeatureMap, Style, scale_channels
from ssd_jax.models.resnet import Bottleneck

FORMS = ("a", "b", "c", "d")
SQUEEZE, CHANNELS = 256, 1024


class PredictionModule(nn.Module):
    """One of the paper's four variants.

    Attributes:
      form: "a": nothing, as SSD; "b": a residual block; "c": one with a convolution on its
        shortcut; "d": two of "c" in sequence.
      kernel: of the middle convolution: 3 as released, 1 as in the paper's figure.
      width, style: of the convolutions.
    """

    form: str = "a"
    kernel: int = 3
    width: float = 1.0
    style: Style = Style()

    @nn.compact
    def __call__(self, x: FeatureMap, *, train: bool) -> FeatureMap:
        """Returns the map that the head reads: 1024 channels in "c" and "d", else the input's."""
        style = dataclasses.replace(self.style, initial_deviation=ADDED_DEVIATION)
        squeeze = scale_channels(SQUEEZE, self.width)
        channels = x.shape[-1] if self.form == "b" else scale_channels(CHANNELS, self.width)
        for i in range({"a": 0, "b": 1, "c": 1, "d": 2}[self.form]):
            x = Bottleneck(
                squeeze,
                channels,
                style,
                middle_kernel=self.kernel,
                project=self.form != "b",
                name=f"block{i + 1}",
            )(x, train=train)
        return x
