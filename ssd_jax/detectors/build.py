"""From a resolved config to a detector."""

from ssd_jax import config
from ssd_jax.detectors import refinedet, several_views, ssd
from ssd_jax.detectors.protocol import Detector

# Fields of config.model that only one system has: a value of theirs elsewhere would do nothing.
_OF_SSD = ("separable", "deconvolution")
_OF_REFINEDET = ("negative_filtering", "cascade", "transfer_connections", "transfer_channels")
_FOREIGN = {"ssd": _OF_REFINEDET, "refinedet": _OF_SSD}


def build(experiment: config.Experiment) -> Detector:
    """Returns the detector that a config describes.

    Raises:
      ValueError: where fields contradict each other, naming them.
    """
    builders = {"ssd": ssd.build, "refinedet": refinedet.build}
    if experiment.model.name not in builders:
        raise ValueError(
            f"config.model.name: expected one of {sorted(builders)}, got {experiment.model.name!r}"
        )
    for field in _FOREIGN[experiment.model.name]:
        if (value := getattr(experiment.model, field)) != getattr(config.Model(), field):
            raise ValueError(
                f"config.model.{field}: {value!r}, but {experiment.model.name!r} has no such part"
            )
    if experiment.model.num_classes < 2:
        raise ValueError(
            "config.model.num_classes: expected the background and at least one class, got "
            f"{experiment.model.num_classes}; set it, or take it from a data set with "
            "config.with_classes"
        )
    build_one = builders[experiment.model.name]
    if several_views.wanted(experiment.decoder):
        return several_views.build(experiment, build_one)
    return build_one(experiment)
