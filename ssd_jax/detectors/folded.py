"""A trained detector whose BatchNorm is part of its convolutions: the same, and faster."""

import dataclasses

import jax
from jaxtyping import PyTree

from ssd_jax import config
from ssd_jax.detectors import backbones
from ssd_jax.detectors.build import build
from ssd_jax.detectors.protocol import Detector
from ssd_jax.models.folding import fold as fold_params


def fold(experiment: config.Experiment, variables: PyTree) -> tuple[Detector, PyTree]:
    """Returns a detector for `apply(train=False)` and `detect` alone, and its variables.

    Without BatchNorm these are the detector that `experiment` describes, and the same variables.

    Args:
      experiment: of the trained detector.
      variables: its params and batch_stats.
    """
    if not variables["batch_stats"] or experiment.model.folded:
        return build(experiment), variables
    model = experiment.model
    of_backbone = backbones.style(model, "backbone").epsilon
    of_rest = backbones.style(model).epsilon

    def epsilon(path: tuple[str, ...]) -> float:
        return of_backbone if path[0] == "backbone" else of_rest

    params = jax.jit(lambda p, s: fold_params(p, s, epsilon))(
        variables["params"], variables["batch_stats"]
    )
    folded = dataclasses.replace(experiment, model=dataclasses.replace(model, folded=True))
    return build(folded), {"params": params, "batch_stats": {}}
