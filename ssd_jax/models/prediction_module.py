"""DSSD's prediction modules, which stand between a map and its head (DSSD, figure 2)."""

from flax import linen as nn

from ssd_jax.models.bottleneck import Bottleneck
from ssd_jax.models.depthwise import FeatureMap
from ssd_jax.models.style import Style

# The number of residual blocks in each form.
BLOCKS = {"a": 0, "b": 1, "c": 1, "d": 2}
SQUEEZE, CHANNELS = 256, 1024


class PredictionModule(nn.Module):
    """One of the paper's four forms.

    "a" is nothing, as in SSD; "b" a residual block; "c" one with a convolution on its shortcut; "d"
    two of "c" in sequence.
    """

    form: str
    kernel: int  # the side of the middle convolution
    style: Style

    @nn.compact
    def __call__(self, x: FeatureMap, *, train: bool) -> FeatureMap:
        """Returns the map that the head reads: 1024 channels in "c" and "d", else the input's."""
        channels = x.shape[-1] if self.form == "b" else self.style.channels(CHANNELS)
        for i in range(BLOCKS[self.form]):
            x = Bottleneck(
                self.style.channels(SQUEEZE),
                channels,
                self.style.added(),
                middle_kernel=self.kernel,
                project=self.form != "b",
                name=f"block{i + 1}",
            )(x, train=train)
        return x
