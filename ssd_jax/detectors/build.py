"""From a resolved config to a detector."""

from ssd_jax import config
from ssd_jax.detectors import refinedet, several_views, ssd
from ssd_jax.detectors.protocol import Detector


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
