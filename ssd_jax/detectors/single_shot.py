"""The settings that all single-shot networks share."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp

from ssd_jax.models.backbones import BACKBONES
from ssd_jax.models.extras import Extras
from ssd_jax.models.heads import Heads
from ssd_jax.models.necks import NECKS, NoNeck
from ssd_jax.models.style import Network, Style
from ssd_jax.models.vgg import VGG16
from ssd_jax.registry import changeable

_FREEZE = ("nowhere", "maps", "everywhere")
_DTYPES = ("float32", "bfloat16")
_PADDINGS = ("symmetric", "same")


@dataclasses.dataclass(frozen=True)
class SingleShot:
    """A network of a backbone, extra layers, a neck and heads; subclasses say how they join.

    Attributes:
        image_size: height, width of the network's input, pixels.
        num_classes: C, background included; 0 means that the data set decides.
        backbone: the network whose maps are read.
        extras: the maps of it that are sources, and the layers after it.
        neck: what stands between these maps and the heads.
        heads: what reads the predictions.
        width: multiplies every channel count but the heads'.
        dtype: the type of the convolutions' arithmetic; parameters and losses stay float32.
        padding: "symmetric", as Caffe and PyTorch pad, or "same", as TensorFlow does.
        batch_norm: put BatchNorm after every convolution but the heads'.
        freeze_batch_norm: where BatchNorm uses its running statistics in training too: "nowhere",
            "maps" (backbone and extras) or "everywhere".
        batch_norm_momentum: the old value's share in the running statistics.
        batch_norm_epsilon: the floor of the variance.
        batch_norm_group: how many devices share BatchNorm's statistics in training; 0 means all of
            them, and 1 that each device computes its own, which no device waits for.
        added_momentum: the momentum after the backbone; None means the same.
        added_epsilon: the epsilon after the backbone; None means the same.
        folded: keep only a bias of BatchNorm. `Detector.fold` folds a trained network.
    """

    image_size: tuple[int, int] = (300, 300)
    num_classes: int = 0
    backbone: Annotated[Any, BACKBONES] = VGG16()
    extras: Extras = Extras()
    neck: Annotated[Any, NECKS] = NoNeck()
    heads: Heads = Heads()
    width: float = 1.0
    dtype: str = "float32"
    padding: str = "symmetric"
    batch_norm: bool = False
    freeze_batch_norm: str = "nowhere"
    batch_norm_momentum: float = 0.9
    batch_norm_epsilon: float = 1e-5
    batch_norm_group: int = changeable(0)
    added_momentum: float | None = None
    added_epsilon: float | None = None
    folded: bool = False

    # The class of the detector that runs the network; subclasses set it.
    detector: ClassVar[type]

    def __post_init__(self) -> None:
        """Refuses values that contradict each other."""
        for field, choices in (
            ("freeze_batch_norm", _FREEZE),
            ("dtype", _DTYPES),
            ("padding", _PADDINGS),
        ):
            if (value := getattr(self, field)) not in choices:
                raise ValueError(
                    f"{type(self).__name__}.{field}: expected one of {choices}, got {value!r}"
                )
        if self.batch_norm_group < 0:
            raise ValueError(
                f"{type(self).__name__}.batch_norm_group: expected 0 or more devices, got "
                f"{self.batch_norm_group}"
            )
        known = self.backbone.features
        if unknown := [name for name in self.extras.sources if name not in known]:
            raise ValueError(
                f"{type(self).__name__}.extras.sources: expected names among {known}, got "
                f"{', '.join(map(repr, unknown))}"
            )

    @property
    def num_maps(self) -> int:
        """The number of maps that the heads read."""
        return self.extras.num_maps

    def style(self, room: str = "") -> Style:
        """Returns the traits of the convolutions of the "backbone", of the "extras", or after."""
        momentum, epsilon = self.batch_norm_momentum, self.batch_norm_epsilon
        if room != "backbone":
            momentum = momentum if self.added_momentum is None else self.added_momentum
            epsilon = epsilon if self.added_epsilon is None else self.added_epsilon
        return Style(
            width=self.width,
            batch_norm=self.batch_norm,
            freeze_batch_norm=self.freeze_batch_norm in _FREEZE[1 if room else 2 :],
            folded=self.folded,
            momentum=momentum,
            epsilon=epsilon,
            batch_norm_group=self.batch_norm_group,
            same_padding=self.padding == "same",
            relu6=self.backbone.relu6,
            dtype=jnp.dtype(self.dtype),
        )

    def sources(self) -> Network:
        """Returns the network of the backbone and the extras, images -> maps, finest first."""
        return self.extras.module(
            self.backbone.module(self.style("backbone")), self.style("extras")
        )

    def network(self, boxes_per_cell: Sequence[int]) -> Network:
        """Returns the whole network, images -> predictions."""
        raise NotImplementedError

    def map_sizes(self) -> list[tuple[int, int]]:
        """Returns the rows and columns of the maps, by abstract evaluation.

        Raises:
            ValueError: where the image is too small for the layers.
        """
        images = jax.ShapeDtypeStruct((1, *self.image_size, 3), jnp.float32)
        sources = self.sources()
        found, _ = jax.eval_shape(
            lambda x: sources.init_with_output(jax.random.key(0), x, train=False), images
        )
        sizes = [(x.shape[1], x.shape[2]) for x in found]
        if min(map(min, sizes)) < 1:
            raise ValueError(
                f"config.model.extras.layers: an input of {self.image_size} is too small for these "
                f"layers; their maps would be {sizes}"
            )
        return sizes
