"""The update rule of the released Caffe nets, and the schedules of its learning rate."""

from typing import Any

import jax
import optax
from jaxtyping import PyTree

from ssd_jax import config
from ssd_jax.train.freezing import is_frozen

RMSPROP_DECAY = 0.9
RMSPROP_EPSILON = 1e-8


def learning_rate(spec: config.Optimizer, total_steps: int) -> optax.Schedule:
    """Returns the learning rate by step: a linear warm-up times the schedule."""
    main = spec.schedule.schedule(spec.learning_rate, total_steps)
    if spec.warmup_steps == 0:
        return main
    warm_up = optax.linear_schedule(spec.warmup_fraction, 1.0, spec.warmup_steps)
    return lambda step: main(step) * warm_up(step)


def update_rule(spec: config.Optimizer, total_steps: int) -> optax.GradientTransformation:
    """Returns the update rule.

    Weight decay is added to the gradient before the momentum, as Caffe does (for "adam" after, as
    AdamW does). Biases of convolutions learn at `bias_multiplier` times the rate; neither they nor
    BatchNorm's parameters decay. Frozen parameters take no memory.

    Raises:
        ValueError: for an unknown name or a bad schedule.
    """
    decay = optax.add_decayed_weights(spec.weight_decay, mask=_decays)
    momentum = optax.trace(decay=spec.momentum)
    rules = {
        "sgd": (decay, momentum),
        "rmsprop": (decay, optax.scale_by_rms(RMSPROP_DECAY, eps=RMSPROP_EPSILON), momentum),
        "adam": (optax.scale_by_adam(b1=spec.momentum), decay),
    }
    if spec.name not in rules:
        raise ValueError(f"config.optimizer.name: expected one of {[*rules]}, got {spec.name!r}")
    clip = (optax.clip_by_global_norm(spec.clip_norm),) if spec.clip_norm > 0 else ()
    rule = optax.chain(
        *clip,
        *rules[spec.name],
        optax.masked(optax.scale(spec.bias_multiplier), _is_convolution_bias),
        optax.scale_by_learning_rate(learning_rate(spec, total_steps)),
    )
    if not spec.frozen:
        return rule
    # What is frozen has no part in the clipping either, and no place in the state.
    return optax.partition(
        {False: rule, True: optax.set_to_zero()}, lambda params: is_frozen(params, spec.frozen)
    )


def memory(spec: config.Optimizer) -> dict[str, Any]:
    """Returns what decides the form of the optimizer's state, by the names of the settings.

    A state fits another config whose values here are equal.
    """
    return {"name": spec.name, "clip_norm": spec.clip_norm > 0, "frozen": spec.frozen}


def _names(path: tuple[jax.tree_util.KeyEntry, ...]) -> tuple[str, str]:
    """Returns (layer, parameter) of a parameter's path."""
    *_, layer, name = (jax.tree_util.keystr((entry,), simple=True) for entry in path)
    return layer, name


def _decays(params: PyTree) -> PyTree:
    def decays(path: tuple, _: jax.Array) -> bool:
        layer, name = _names(path)
        return name != "bias" and layer != "bn"

    return jax.tree_util.tree_map_with_path(decays, params)


def _is_convolution_bias(params: PyTree) -> PyTree:
    def is_bias(path: tuple, _: jax.Array) -> bool:
        layer, name = _names(path)
        return name == "bias" and layer != "bn"

    return jax.tree_util.tree_map_with_path(is_bias, params)
