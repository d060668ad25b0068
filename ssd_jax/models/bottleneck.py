"""The residual block of ResNet-50 and -101, which DSSD and RefineDet use too."""

from flax import linen as nn

from ssd_jax.models.conv_layer import ConvLayer
from ssd_jax.models.depthwise import FeatureMap
from ssd_jax.models.style import Style


class Bottleneck(nn.Module):
    """A residual block: 1x1, 3x3, 1x1, added to its input (Deep Residual Learning, figure 5).

    Attributes:
        squeeze, channels: of the inner and of the last convolution.
        style: with BatchNorm, as released.
        stride: of the block.
        kernel, padding: of the convolutions that stride, where they are the first ones.
        middle_kernel, dilation: of the middle convolution.
        stride_first: stride at the entrance, as released; otherwise on the 3x3, as torchvision.
        project: a convolution on the shortcut even where the shape stays.
    """

    squeeze: int
    channels: int
    style: Style
    stride: int = 1
    kernel: int = 1
    padding: int = 0
    middle_kernel: int = 3
    dilation: int = 1
    stride_first: bool = True
    project: bool = False

    @nn.compact
    def __call__(self, x: FeatureMap, *, train: bool) -> FeatureMap:
        """Returns the block's output, after the sum's ReLU."""
        style = self.style
        first, second = (self.stride, 1) if self.stride_first else (1, self.stride)
        entrance = {"kernel": self.kernel, "padding": self.padding, "style": style}
        shortcut = x
        changes = self.stride > 1 or self.kernel > 1 or x.shape[-1] != self.channels
        if self.project or changes:
            shortcut = ConvLayer(
                self.channels, stride=self.stride, activation=False, name="branch1", **entrance
            )(x, train=train)
        y = ConvLayer(self.squeeze, stride=first, name="branch2a", **entrance)(x, train=train)
        y = ConvLayer(
            self.squeeze,
            kernel=self.middle_kernel,
            stride=second,
            dilation=self.dilation,
            style=style,
            name="branch2b",
        )(y, train=train)
        y = ConvLayer(self.channels, kernel=1, activation=False, style=style, name="branch2c")(
            y, train=train
        )
        return nn.relu(shortcut + y)
