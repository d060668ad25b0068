"""ResNet-50 and ResNet-101 without their classifiers, in the original and torchvision's form."""

from collections.abc import Mapping

from flax import linen as nn

from ssd_jax.models.layers import ConvLayer, FeatureMap, Style, max_pool, scale_channels

FORMS = ("original", "torchvision")

# Stage, blocks of ResNet-50 and -101, inner channels (Deep Residual Learning, table 1); a block's
# last convolution has four times as many.
STAGES = ((2, {50: 3, 101: 3}, 64), (3, {50: 4, 101: 4}, 128), (4, {50: 6, 101: 23}, 256),
          (5, {50: 3, 101: 3}, 512))  # fmt: skip


def block_names(depth: int) -> tuple[str, ...]:
    """Returns the blocks' names in the released Caffe nets: res2a .. res5c, with res3b1 in -101."""
    names = []
    for stage, blocks, _ in STAGES:
        count = blocks[depth]
        numbered = depth > 50 and stage in (3, 4)
        later = [f"b{i}" for i in range(1, count)] if numbered else "bcdef"[: count - 1]
        names += [f"res{stage}{suffix}" for suffix in ("a", *later)]
    return tuple(names)


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


class ResNet(nn.Module):
    """The backbone of DSSD and of RefineDet's second form.

    Attributes:
      depth: 50 or 101.
      width: multiplies every channel count.
      form: "original": stride at each stage's first 1x1, pooling with Caffe's ceiling;
        "torchvision": stride on the 3x3, symmetric pooling.
      dilated: conv5 at conv4's resolution, its 3x3 convolutions dilated by 2 (DSSD, section 3.1).
      style: of its convolutions.
    """

    depth: int = 101
    width: float = 1.0
    form: str = "original"
    dilated: bool = False
    style: Style = Style(batch_norm=True)

    @nn.compact
    def __call__(self, images: FeatureMap, *, train: bool) -> Mapping[str, FeatureMap]:
        """Returns the map after every block, by its name."""
        style, original = self.style, self.form == "original"
        x = ConvLayer(
            scale_channels(64, self.width), kernel=7, stride=2, style=style, name="conv1"
        )(images, train=train)
        x = max_pool(x, window=3, stride=2, padding=0 if original else 1, ceil=original)
        names = iter(block_names(self.depth))
        features = {}
        for stage, blocks, squeeze in STAGES:
            squeeze = scale_channels(squeeze, self.width)
            dilated = self.dilated and stage == 5
            for i in range(blocks[self.depth]):
                name = next(names)
                x = features[name] = Bottleneck(
                    squeeze,
                    4 * squeeze,
                    style,
                    stride=2 if i == 0 and stage > 2 and not dilated else 1,
                    dilation=2 if dilated else 1,
                    stride_first=original,
                    name=name,
                )(x, train=train)
        return features
