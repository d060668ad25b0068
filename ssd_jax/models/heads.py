"""The convolutions that read predictions off the maps."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ssd_jax.models.conv_layer import ConvLayer
from ssd_jax.models.convolution import Conv
from ssd_jax.models.depthwise import FeatureMap
from ssd_jax.models.prediction_module import BLOCKS, PredictionModule
from ssd_jax.models.style import Style
from ssd_jax.types import Predictions


@dataclasses.dataclass(frozen=True)
class Heads:
    """The heads of a detector, one for each map. Call its methods inside a module's `__call__`.

    Attributes:
        kernels: the side of the convolutions, pixels: one for all maps, or one for each.
        separable: SSDLite's form: a depthwise convolution of that kernel, then a 1x1 convolution.
        prediction_module: DSSD's module before each head: "a" (none), "b", "c" or "d".
        prediction_kernel: the side of its middle convolution: 3 as released, 1 as in the paper.
    """

    kernels: tuple[int, ...] = (3,)
    separable: bool = False
    prediction_module: str = "a"
    prediction_kernel: int = 3

    def __post_init__(self) -> None:
        """Refuses an unknown prediction module."""
        if self.prediction_module not in BLOCKS:
            raise ValueError(
                f"Heads.prediction_module: expected one of {[*BLOCKS]}, got "
                f"{self.prediction_module!r}"
            )

    def kernels_of(self, num_maps: int) -> tuple[int, ...]:
        """Returns a kernel for each map.

        Raises:
            ValueError: where there is neither one for all maps nor one for each.
        """
        if len(self.kernels) not in (1, num_maps):
            raise ValueError(
                f"Heads.kernels: expected one kernel, or one for each of the {num_maps} maps, got "
                f"{self.kernels}"
            )
        return self.kernels * (num_maps // len(self.kernels))

    def before(self, maps: Sequence[FeatureMap], name: str, style: Style, train: bool) -> list:
        """Returns the maps after their prediction modules, called `name` and the map's number."""
        form, kernel = self.prediction_module, self.prediction_kernel
        return [
            PredictionModule(form, kernel, style, name=f"{name}{i}")(x, train=train)
            for i, x in enumerate(maps, start=1)
        ]

    def predict(
        self,
        maps: Sequence[FeatureMap],
        boxes_per_cell: Sequence[int],
        num_classes: int,
        style: Style,
        train: bool,
    ) -> Predictions:
        """Returns the predictions for every anchor: map by map, each in rows, columns, boxes."""
        each = []
        kernels = self.kernels_of(len(maps))
        for i, (x, k, kernel) in enumerate(zip(maps, boxes_per_cell, kernels, strict=True), 1):
            head = MultiboxHead(k, num_classes, kernel, self.separable, style, name=f"head{i}")
            each.append(head(x, train=train))
        return Predictions(*(jnp.concatenate(part, axis=1) for part in zip(*each, strict=True)))


class MultiboxHead(nn.Module):
    """Offsets and class scores for every default box of one feature map (SSD, section 2.1)."""

    boxes_per_cell: int  # k
    num_classes: int  # C, background included
    kernel: int  # the side of the convolutions, pixels
    separable: bool  # see `Heads`
    style: Style  # of a depthwise convolution; the others take its dtype

    @nn.compact
    def __call__(self, features: FeatureMap, *, train: bool) -> Predictions:
        """Returns offsets [B, H*W*k, 4] and logits [B, H*W*k, C]: rows, columns, then boxes."""
        head = (self.boxes_per_cell, self.kernel, self.separable, self.style, train)
        offsets = read_boxes(features, 4, "offsets", *head)
        return Predictions(offsets, read_boxes(features, self.num_classes, "logits", *head))


def read_boxes(
    x: FeatureMap,
    values: int,
    name: str,
    boxes_per_cell: int,
    kernel: int,
    separable: bool,
    style: Style,
    train: bool,
) -> Float[Array, "B N values"]:
    """Returns some values for every default box of a map: rows, columns, then boxes; float32.

    Call it inside a module's `__call__`. The convolution is called `name` in the parameters; see
    `MultiboxHead` for what follows it.
    """
    if separable:
        layer = ConvLayer(kernel=kernel, depthwise=True, style=style, name=f"{name}_depthwise")
        x, kernel = layer(x, train=train), 1
    padding = (kernel // 2, kernel // 2)
    channels = boxes_per_cell * values
    conv = Conv(channels, kernel, (padding, padding), dtype=style.dtype, name=name)
    return conv(x).reshape(x.shape[0], -1, values).astype(jnp.float32)
