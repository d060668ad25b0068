"""A training or detection step, compiled for devices that need not be there."""

import dataclasses
import re
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssd_jax import config, inference, sharding
from ssd_jax.train.run import Run
from ssd_jax.types import Batch

STEPS = ("train", "detect")

_FULL = re.compile(r"RESOURCE_EXHAUSTED|[Oo]ut of memory")


class DoesNotFitError(ValueError):
    """The compiler found no way to keep the program within the chip's memory."""


class Compiled(NamedTuple):
    """A compiled step, and how long that took in seconds."""

    program: jax.stages.Compiled
    lowering: float
    compiling: float


def check_classes(experiment: config.Experiment) -> None:
    """Raises a ValueError where a config needs its data set to know its classes."""
    if not experiment.model.num_classes:
        raise ValueError(
            "config.model.num_classes: 0, so that the data set would decide; without one give "
            "--config.model.num_classes=21 (VOC) or 81 (COCO), the background included"
        )


def batch_size(experiment: config.Experiment, step: str) -> int:
    """Returns the images of a step over all devices."""
    return (experiment.train if step == "train" else experiment.evaluate).batch_size


def with_batch_size(experiment: config.Experiment, step: str, size: int) -> config.Experiment:
    """Returns the experiment with another number of images a step."""
    name = "train" if step == "train" else "evaluate"
    group = dataclasses.replace(getattr(experiment, name), batch_size=size)
    return dataclasses.replace(experiment, **{name: group})


def compile_step(
    experiment: config.Experiment, devices: list[jax.Device], step: str = "train"
) -> Compiled:
    """Compiles a step for a mesh of devices, from shapes alone: nothing runs, nothing is read.

    Args:
        experiment: the resolved config, with its number of classes.
        devices: of the mesh, in its order.
        step: one of STEPS.

    Raises:
        ValueError: where the config has no number of classes or does not fit the devices.
        DoesNotFitError: where the chip's memory is too small.
    """
    check_classes(experiment)
    if step == "detect":
        # A run checks the batch that it would train on, and here there is none.
        size = len(devices) * experiment.train.accumulation
        experiment = with_batch_size(experiment, "train", size)
    # The data set's class names would be compared with those of the config.
    run = Run.from_experiment(dataclasses.replace(experiment, class_names=()), devices)
    batch = _abstract_batch(experiment, batch_size(experiment, step))
    if step == "train":
        key = jax.eval_shape(lambda: jax.random.key(0))
        traced = run.step.trace(jax.eval_shape(run.init), batch, key)
    else:
        size = experiment.evaluate.batch_size
        sharding.check_batch_size(run.mesh, size, "config.evaluate.batch_size")
        variables = jax.eval_shape(run.init).variables()
        detect = inference.make_detect_step(run.detector, run.mesh)
        traced = detect.trace(variables, batch.canvas, batch.size)
    began = time.perf_counter()
    lowered = traced.lower()
    middle = time.perf_counter()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if _FULL.search(str(error)):
            size = batch_size(experiment, step) // len(devices)
            raise DoesNotFitError(
                f"{size} images a device are too many for its memory, says the compiler: "
                f"{_first_line(error)}; --largest_batch finds how many fit"
            ) from None
        raise
    return Compiled(compiled, middle - began, time.perf_counter() - middle)


def _abstract_batch(experiment: config.Experiment, size: int) -> Batch:
    shape = jax.ShapeDtypeStruct
    slots = (size, experiment.data.max_objects)
    return Batch(
        index=shape((size,), jnp.int32),
        canvas=shape((size, *experiment.data.canvas, 3), jnp.uint8),
        size=shape((size, 2), jnp.int32),
        boxes_xyxy=shape((*slots, 4), jnp.float32),
        labels=shape(slots, jnp.int32),
        valid=shape(slots, jnp.bool_),
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
