"""The update rule of the released Caffe nets, and the schedules of its learning rate."""

import dataclasses
from typing import Any

import jax
import optax
from jaxtyping import PyTree

from ssd_jax import config
from ssd_jax.train.freezing import is_frozen

RMSPROP_DECAY = 0.9
RMSPROP_EPSILON = 1e-8

# Of a large batch, from 0: what NVIDIA's and MLPerf's SSD train with.
LARGE_BATCH_WARMUP_STEPS = 300


def for_batch(spec: config.Optimizer, batch_size: int) -> config.Optimizer:
    """Returns the settings for a batch of this size, where `reference_batch_size` asks for it.

    The rate grows in proportion to the batch (Goyal et al., "Accurate, Large Minibatch SGD",
    section 2.1). A batch above the reference is warmed up from 0, over `warmup_steps` or, where
    these are 0, over 300 steps: so do the SSDs of NVIDIA's DeepLearningExamples and of MLPerf,
    whose reference is 32 images. The steps of the run and of its schedule stay what they are.

    Raises:
        ValueError: for a negative reference.
    """
    reference = spec.reference_batch_size
    if reference < 0:
        raise ValueError(
            f"config.optimizer.reference_batch_size: expected 0 or more images, got {reference}"
        )
    if not reference:
        return spec
    spec = dataclasses.replace(spec, learning_rate=spec.learning_rate * batch_size / reference)
    if batch_size <= reference:
        return spec
    steps = spec.warmup_steps or LARGE_BATCH_WARMUP_STEPS
    return dataclasses.replace(spec, warmup_steps=steps, warmup_fraction=0.0)


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
