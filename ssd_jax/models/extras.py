"""The maps that the heads read: some of a backbone's, and those of the layers after it."""

import dataclasses

from flax import linen as nn

from ssd_jax.models.bottleneck import Bottleneck
from ssd_jax.models.conv_layer import ConvLayer
from ssd_jax.models.depthwise import FeatureMap
from ssd_jax.models.l2_norm import L2Norm
from ssd_jax.models.style import Style

# The channels of a 1x1 convolution; the channels, kernel, stride and padding of one that shrinks.
ExtraLayer = tuple[int, int, int, int, int]

FORMS = ("plain", "separable", "bottleneck")


@dataclasses.dataclass(frozen=True)
class Extras:
    """The maps of a detector: chosen ones of its backbone, and one for each layer after it.

    Attributes:
        sources: the names of the backbone's maps, finest first.
        l2_norm: the initial scale of the L2Norm on each source; 0 leaves one out, () all of them.
        layers: the layers after the backbone's last map; see `ExtraLayer`.
        form: "plain": a 1x1 convolution, then one that shrinks the map (SSD). "separable": the
            second as a depthwise and a 1x1 convolution (SSDLite). "bottleneck": a residual block
            that shrinks at its entrance (DSSD, RefineDet on ResNet-101).
    """

    sources: tuple[str, ...] = ("conv4_3", "fc7")
    l2_norm: tuple[float, ...] = (20.0, 0.0)
    layers: tuple[ExtraLayer, ...] = ()
    form: str = "plain"

    def __post_init__(self) -> None:
        """Refuses values that contradict each other."""
        if not self.sources:
            raise ValueError("Extras.sources: expected at least one map of the backbone, got ()")
        if self.l2_norm and len(self.l2_norm) != len(self.sources):
            raise ValueError(
                f"Extras.l2_norm: expected one scale for each of {self.sources}, or (), got "
                f"{self.l2_norm}"
            )
        if self.form not in FORMS:
            raise ValueError(f"Extras.form: expected one of {FORMS}, got {self.form!r}")

    @property
    def num_maps(self) -> int:
        """The number of maps that the heads read."""
        return len(self.sources) + len(self.layers)

    def module(self, backbone: nn.Module, style: Style) -> nn.Module:
        """Returns the network, images [B, H, W, 3] -> maps, finest first."""
        return SourceMaps(self, backbone, style)


class SourceMaps(nn.Module):
    """The network of `Extras`, its backbone included."""

    settings: Extras
    backbone: nn.Module  # (images, train=...) -> maps by name; the last one feeds the layers
    style: Style  # of the layers after it

    @nn.compact
    def __call__(self, images: FeatureMap, *, train: bool) -> list[FeatureMap]:
        """Returns the maps that the heads read, finest first, from normalised images."""
        settings = self.settings
        features = self.backbone(images, train=train)
        scales = settings.l2_norm or (0.0,) * len(settings.sources)
        maps = []
        for name, scale in zip(settings.sources, scales, strict=True):
            x = features[name]
            maps.append(L2Norm(scale, name=f"{name}_norm")(x) if scale else x)
        x = list(features.values())[-1]
        for i, shape in enumerate(settings.layers, start=1):
            x = ExtraLayers(shape, settings.form, self.style, name=f"extra{i}")(x, train=train)
            maps.append(x)
        return maps


class ExtraLayers(nn.Module):
    """One step below the backbone, which shrinks the map."""

    shape: ExtraLayer
    form: str  # see `Extras`
    style: Style

    @nn.compact
    def __call__(self, x: FeatureMap, *, train: bool) -> FeatureMap:
        """Returns the smaller map."""
        squeeze, channels, kernel, stride, padding = self.shape
        squeeze, channels = (self.style.channels(n) for n in (squeeze, channels))
        window = {"kernel": kernel, "stride": stride, "padding": padding}
        if self.form == "bottleneck":
            style = self.style.added()
            return Bottleneck(squeeze, channels, style, name="block", **window)(x, train=train)
        x = ConvLayer(squeeze, kernel=1, style=self.style, name="squeeze")(x, train=train)
        if self.form == "plain":
            return ConvLayer(channels, style=self.style, name="expand", **window)(x, train=train)
        x = ConvLayer(depthwise=True, style=self.style, name="depthwise", **window)(x, train=train)
        return ConvLayer(channels, kernel=1, style=self.style, name="expand")(x, train=train)
