"""From settings to a detector."""

from typing import Any, Protocol

from ssd_jax.detectors.decoder import Decoder
from ssd_jax.detectors.input import Input
from ssd_jax.detectors.multibox import Multibox
from ssd_jax.detectors.protocol import Detector
from ssd_jax.detectors.refinedet import RefineDet
from ssd_jax.detectors.several_views import at_several_sizes
from ssd_jax.detectors.single_shot import SingleShot
from ssd_jax.detectors.ssd import SSD
from ssd_jax.ops.anchors import AnchorSpec
from ssd_jax.registry import Registry

# The settings of a network have `detector`, the class that runs it; see `SingleShot`.
DETECTORS = Registry("detector", {"ssd": SSD, "refinedet": RefineDet})


class Settings(Protocol):
    """The settings of a detector: some groups of a config."""

    model: SingleShot
    input: Input
    anchors: Any
    loss: Multibox
    decoder: Decoder


def build(settings: Settings) -> Detector:
    """Returns the detector that a config describes.

    Raises:
        ValueError: where fields contradict each other, naming them.
    """
    if settings.model.num_classes < 2:
        raise ValueError(
            "config.model.num_classes: expected the background and at least one class, got "
            f"{settings.model.num_classes}; set it, or take it from a data set with "
            "config.with_classes"
        )
    detector = settings.model.detector(
        settings.model, settings.input, settings.anchors, settings.loss, settings.decoder
    )
    if settings.decoder.several_views:
        detector = at_several_sizes(detector)
    detector.check()
    return detector


def anchor_spec(settings: Settings) -> AnchorSpec:
    """Returns the anchors of a config without building its detector; classes play no part.

    Raises:
        ValueError: where fields contradict each other, naming them.
    """
    return settings.anchors.spec(settings.model.image_size, settings.model.map_sizes())
