"""ResNet-50 and ResNet-101 without their classifiers, in the original and torchvision's form."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from flax import linen as nn

from ssd_jax.models.bottleneck import Bottleneck
from ssd_jax.models.conv_layer import ConvLayer
from ssd_jax.models.depthwise import FeatureMap
from ssd_jax.models.pooling import max_pool
from ssd_jax.models.style import Style

DEPTHS = (50, 101)
FORMS = ("original", "torchvision")

# Stage, blocks in ResNet-50 and -101, inner channels (Deep Residual Learning, table 1); a block's
# last convolution has four times as many.
STAGES = ((2, {50: 3, 101: 3}, 64), (3, {50: 4, 101: 4}, 128), (4, {50: 6, 101: 23}, 256),
          (5, {50: 3, 101: 3}, 512))  # fmt: skip


def block_names(depth: int) -> tuple[str, ...]:
    """Returns the blocks' names in the released Caffe nets, res2a .. res5c."""
    names = []
    for stage, blocks, _ in STAGES:
        count = blocks[depth]
        numbered = depth > 50 and stage in (3, 4)
        later = [f"b{i}" for i in range(1, count)] if numbered else "bcdef"[: count - 1]
        names += [f"res{stage}{suffix}" for suffix in ("a", *later)]
    return tuple(names)


@dataclasses.dataclass(frozen=True)
class ResNet:
    """The backbone of DSSD and of RefineDet's second form.

    Attributes:
        depth: 50 or 101.
        form: "original" strides at each stage's first 1x1 and pools with Caffe's ceiling;
            "torchvision" strides on the 3x3 and pools symmetrically.
        dilated_conv5: keep conv5 at conv4's resolution, its 3x3 convolutions dilated by 2 (DSSD,
            section 3.1).
    """

    depth: int = 101
    form: str = "original"
    dilated_conv5: bool = False
    relu6: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuses an unknown depth or form."""
        if self.depth not in DEPTHS:
            raise ValueError(f"ResNet.depth: expected one of {DEPTHS}, got {self.depth}")
        if self.form not in FORMS:
            raise ValueError(f"ResNet.form: expected one of {FORMS}, got {self.form!r}")

    @property
    def features(self) -> tuple[str, ...]:
        """The maps that can be sources, finest first."""
        return block_names(self.depth)

    def module(self, style: Style) -> nn.Module:
        """Returns the network, images [B, H, W, 3] -> maps by name."""
        return ResNetModule(self, style)


class ResNetModule(nn.Module):
    """The network of `ResNet`."""

    settings: ResNet
    style: Style

    @nn.compact
    def __call__(self, images: FeatureMap, *, train: bool) -> Mapping[str, FeatureMap]:
        """Returns the map after every block, by its name."""
        settings, style = self.settings, self.style
        original = settings.form == "original"
        conv1 = ConvLayer(style.channels(64), kernel=7, stride=2, style=style, name="conv1")
        x = conv1(images, train=train)
        x = max_pool(x, window=3, stride=2, padding=0 if original else 1, ceil=original)
        names = iter(settings.features)
        features = {}
        for stage, blocks, squeeze in STAGES:
            squeeze = style.channels(squeeze)
            dilated = settings.dilated_conv5 and stage == 5
            for i in range(blocks[settings.depth]):
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
