"""The residual block of ResNet-50 and -101, which DSSD and RefineDet use too."""

from flax import linen as nn

from ssd_jax.models.conv_layer import ConvLayer
from ssd_jax.models.depthwise import FeatureMap
from ssd_jax.models.style import Style


class Bottleneck(nn.Module):
    """A residual block: 1x1, 3x3, 1x1, added to its input (Deep Residual Learning, figure 5)."""

    squeeze: int  # channels of the inner convolutions
    channels: int  # of the last one
    style: Style  # released with BatchNorm
    stride: int = 1  # of the block
    kernel: int = 1  # of the first convolution and of the shortcut's
    padding: int = 0  # of the same two
    middle_kernel: int = 3
    dilation: int = 1  # of the middle convolution
    stride_first: bool = True  # as released; otherwise the 3x3 strides, as in torchvision
    project: bool = False  # put a convolution on the shortcut even where the shape stays

    @nn.compact
    def __call__(self, x: FeatureMap, *, train: bool) -> FeatureMap:
        """Returns the block's output, after the sum's ReLU."""
        first, second = (self.stride, 1) if self.stride_first else (1, self.stride)
        entrance = {"kernel": self.kernel, "padding": self.padding, "style": self.style}
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
            style=self.style,
            name="branch2b",
        )(y, train=train)
        last = ConvLayer(
            self.channels, kernel=1, activation=False, style=self.style, name="branch2c"
        )
        return nn.relu(shortcut + last(y, train=train))
