r"""Times a config's parts on this machine, and optionally a peer's beside it.

    python -m launch.benchmark --config configs/mobilenet_ssd.py:300,voc --suite train,infer \
      --peer torchvision --output results.json

Suites: `ops` (augmentation; matching, mining, loss and its gradient; decoding and NMS), `train` (a
whole training step), `infer` (from an 8-bit picture to detections, batch 1), `data` (the loader,
on config.data.train). Pictures are random except in `data`. Each figure is milliseconds an image:
the median, least and most of --repeats timings, after a warm-up; compilation is apart.
"""

import json
import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags
from rich.console import Console
from rich.table import Table
from rich.text import Text

from launch import cli
from launch.benchmark_torchvision import time_torchvision
from ssd_jax import config, detectors, sharding
from ssd_jax.data import pipeline, records
from ssd_jax.evaluate.evaluator import make_detect_step
from ssd_jax.train import optimizer as optimizers
from ssd_jax.train.loop import initial_state
from ssd_jax.train.step import augment_batch, augment_spec, make_train_step
from ssd_jax.types import Batch, Targets

_CONFIG = cli.define_config(required=True)
_SUITES = ("ops", "train", "infer", "data")
_SUITE = flags.DEFINE_list("suite", ["ops", "train", "infer"], f"Some of {', '.join(_SUITES)}.")
_PEER = flags.DEFINE_enum("peer", None, ["torchvision"], "Time this, too, in the same run.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 8, "Of ops, train and data.", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 5, "Timings of each figure.", lower_bound=1)
_NUM_CLASSES = flags.DEFINE_integer("num_classes", 21, "Background included.", lower_bound=2)
_NUM_OBJECTS = flags.DEFINE_integer("num_objects", 8, "On each random picture.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "A JSON file for the figures.")


class Timing(NamedTuple):
    """Milliseconds an image."""

    name: str
    median: float
    least: float
    most: float
    batch_size: int
    first_call_seconds: float  # with the compilation


def timed(name: str, run: Callable[[], Any], batch_size: int) -> Timing:
    """Calls `run`, which must wait for its result, once to warm up and then --repeats times."""
    began = time.perf_counter()
    run()
    first = time.perf_counter() - began
    times = []
    for _ in range(_REPEATS.value):
        began = time.perf_counter()
        run()
        times.append((time.perf_counter() - began) * 1e3 / batch_size)
    return Timing(name, statistics.median(times), min(times), max(times), batch_size, first)


def main() -> None:
    """Times what --suite asks for."""
    if unknown := set(_SUITE.value) - set(_SUITES):
        raise ValueError(f"--suite: expected some of {', '.join(_SUITES)}, got {unknown}")
    values = _CONFIG.value
    values.model.num_classes = _NUM_CLASSES.value
    values.train.batch_size = _BATCH_SIZE.value
    experiment = config.resolve(values)
    timings = []
    if {"ops", "train", "infer"} & set(_SUITE.value):
        timings += _time_detector(experiment)
    if "data" in _SUITE.value:
        timings.append(_time_loader(experiment))
    if _PEER.value:
        timings += time_torchvision(
            experiment, timed, _SUITE.value, _BATCH_SIZE.value, _NUM_OBJECTS.value
        )
    device = jax.devices()[0].device_kind
    if _OUTPUT.value:
        figures = {
            "config": experiment.name,
            "device": f"{jax.device_count()} x {device}",
            "jax": jax.__version__,
            "timings": [timing._asdict() for timing in timings],
        }
        pathlib.Path(_OUTPUT.value).write_text(json.dumps(figures, indent=2) + "\n")
    title = Text(f"{experiment.name}, {jax.device_count()} x {device}: ms an image")
    table = Table(title=title)
    for heading in ("", "median", "least", "most", "batch", "first call, s"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, *times, batch_size, first in timings:
        table.add_row(name, *(f"{t:.2f}" for t in times), str(batch_size), f"{first:.1f}")
    Console().print(table)


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


def _time_detector(experiment: config.Experiment) -> list[Timing]:
    detector = detectors.build(experiment)
    mesh = sharding.data_mesh()
    B = experiment.train.batch_size
    sharding.check_batch_size(mesh, B, "--batch_size")
    key = jax.random.key(0)
    optimizer = optimizers.build(experiment.optimizer, experiment.train.steps)
    state = initial_state(detector, optimizer, key, mesh, ema=False)
    variables = state.variables()
    batch = sharding.put_batch(mesh, random_batch(experiment, B, _NUM_OBJECTS.value))
    spec = augment_spec(experiment)
    timings = []

    def add(name: str, function: Callable, *args: Any, images: int = B) -> None:
        timings.append(timed(name, lambda: jax.block_until_ready(function(*args)), images))

    if "ops" in _SUITE.value:
        augment = jax.jit(lambda batch, key: augment_batch(batch, key, spec))
        add("augmentation", augment, batch, key)
        images, targets = augment(batch, key)
        forward = jax.jit(lambda v, x: detector.apply(v, x, train=False)[0])
        predictions = forward(variables, images)
        add("network, forward", forward, variables, images)
        gradient = jax.jit(jax.value_and_grad(lambda p, t: detector.loss(p, Targets(*t)).total))
        add("match, mine, loss, gradient", gradient, predictions, tuple(targets))
        add("decode, NMS", jax.jit(detector.detect), predictions)
    if "infer" in _SUITE.value:
        detect = make_detect_step(detector, mesh)
        one = mesh.size  # a picture for each device
        pictures = sharding.put_batch(
            mesh, (np.asarray(batch.canvas[:one]), np.asarray(batch.size[:one]))
        )
        add("inference", detect, variables, *pictures, images=one)
        if variables["batch_stats"]:
            folded, folded_variables = detectors.fold(experiment, variables)
            detect = make_detect_step(folded, mesh)
            folded_variables = jax.device_put(folded_variables, sharding.replicated(mesh))
            add("inference, BatchNorm folded", detect, folded_variables, *pictures, images=one)
    if "train" in _SUITE.value:
        schedule = optimizers.learning_rate(experiment.optimizer, experiment.train.steps)
        step = make_train_step(detector, optimizer, schedule, spec, mesh)
        current = [state]  # the step takes the state's memory

        def train() -> None:
            current[0], metrics = step(current[0], batch, key)
            jax.block_until_ready((current[0], metrics))

        timings.append(timed("training step", train, B))
    return timings


def _time_loader(experiment: config.Experiment) -> Timing:
    data = experiment.data
    B, batches = experiment.train.batch_size, 20
    source = records.open_source(data.train, data.data_dir)
    with pipeline.train_batches(
        source,
        batch_size=B,
        canvas_size=data.canvas,
        max_objects=data.max_objects,
        seed=0,
        num_workers=data.num_workers,
    ) as iterator:

        def read() -> None:
            for _ in range(batches):
                next(iterator)

        return timed("loader", read, B * batches)


if __name__ == "__main__":
    cli.run(main)
