"""Timing the parts of a config: its ops, its inference, its training step, its loader."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ssd_jax import config, sharding
from ssd_jax.inference import make_detect_step
from ssd_jax.train.run import Run
from ssd_jax.train.step import augment_batch
from ssd_jax.types import Batch, Targets


class Timing(NamedTuple):
    """Milliseconds an image."""

    name: str
    median: float
    least: float
    most: float
    batch_size: int
    first_call_seconds: float  # with the compilation


Timer = Callable[[str, Callable[[], Any], int], Timing]


def timed(name: str, run: Callable[[], Any], batch_size: int, *, repeats: int) -> Timing:
    """Calls `run`, which must wait for its result, once to warm up and then `repeats` times."""
    began = time.perf_counter()
    run()
    first = time.perf_counter() - began
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append((time.perf_counter() - began) * 1e3 / batch_size)
    return Timing(name, statistics.median(times), min(times), max(times), batch_size, first)


def random_batch(experiment: config.Experiment, batch_size: int, num_objects: int) -> Batch:
    """Returns pictures of noise that fill the canvas, with random objects."""
    rng = np.random.default_rng(0)
    B, G = batch_size, max(num_objects, experiment.data.max_objects)
    height, width = experiment.data.canvas
    corner = rng.uniform(0, 0.6, (B, G, 2))
    boxes = np.concatenate((corner, corner + rng.uniform(0.1, 0.4, (B, G, 2))), axis=-1)
    labels = rng.integers(1, experiment.model.num_classes, (B, G))
    return Batch(
        index=np.arange(B, dtype=np.int32),
        canvas=rng.integers(0, 256, (B, height, width, 3), np.uint8),
        size=np.tile(np.array([[height, width]], np.int32), (B, 1)),
        boxes_xyxy=boxes.astype(np.float32),
        labels=labels.astype(np.int32),
        valid=np.tile(np.arange(G) < num_objects, (B, 1)),
    )


def time_detector(
    experiment: config.Experiment, timed: Timer, suites: Sequence[str], num_objects: int
) -> list[Timing]:
    """Times the suites "ops", "infer" and "train" of a config, on pictures of noise."""
    run = Run.from_experiment(experiment)
    detector, mesh, key = run.detector, run.mesh, run.key
    B = experiment.train.batch_size
    state = run.init()
    variables = state.variables()
    batch = sharding.put_batch(mesh, random_batch(experiment, B, num_objects))
    timings = []

    def add(name: str, function: Callable, *args: Any, images: int = B) -> None:
        timings.append(timed(name, lambda: jax.block_until_ready(function(*args)), images))

    if "ops" in suites:
        augment = jax.jit(lambda batch, key: augment_batch(batch, key, run.augmentation))
        add("augmentation", augment, batch, key)
        images, targets = augment(batch, key)
        forward = jax.jit(lambda v, x: detector.apply(v, x, train=False)[0])
        predictions = forward(variables, images)
        add("network, forward", forward, variables, images)
        gradient = jax.jit(jax.value_and_grad(lambda p, t: detector.loss(p, Targets(*t)).total))
        add("match, mine, loss, gradient", gradient, predictions, tuple(targets))
        add("decode, NMS", jax.jit(detector.detect), predictions)
    if "infer" in suites:
        detect = make_detect_step(detector, mesh)
        one = mesh.size  # a picture for each device
        pictures = sharding.put_batch(
            mesh, (np.asarray(batch.canvas[:one]), np.asarray(batch.size[:one]))
        )
        add("inference", detect, variables, *pictures, images=one)
        if variables["batch_stats"]:
            folded, folded_variables = detector.fold(variables)
            detect = make_detect_step(folded, mesh)
            folded_variables = jax.device_put(folded_variables, sharding.replicated(mesh))
            add("inference, BatchNorm folded", detect, folded_variables, *pictures, images=one)
    if "train" in suites:
        current = [state]  # the step takes the state's memory

        def train() -> None:
            current[0], metrics = run.step(current[0], batch, key)
            jax.block_until_ready((current[0], metrics))

        timings.append(timed("training step", train, B))
    return timings


def time_loader(experiment: config.Experiment, timed: Timer) -> Timing:
    """Times the loader on a config's training data."""
    B, batches = experiment.train.batch_size, 20
    with Run.from_experiment(experiment).batches() as iterator:

        def read() -> None:
            for _ in range(batches):
                next(iterator)

        return timed("loader", read, B * batches)
