r"""Times a config's parts on this machine, and optionally a peer's beside it.

    python -m launch.benchmark --config configs/mobilenet_ssd.py:300,voc --suite train,infer \
      --peer torchvision --output results.json

Suites: `ops` (augmentation; matching, mining, loss and its gradient; decoding and NMS), `train` (a
whole training step), `infer` (from an 8-bit picture to detections, batch 1), `data` (the loader,
on config.data.train). Pictures are random except in `data`. Each figure is milliseconds an image:
the median, least and most of --repeats timings after a warm-up, without compilation.
"""

import functools
import importlib
import json
import pathlib
import types

import jax
from absl import flags

from ssd_jax import config, timing
from ssd_jax.text_table import TextTable

from . import cli

_CONFIG = cli.define_config(required=True)
_SUITES = ("ops", "train", "infer", "data")
_SUITE = flags.DEFINE_list("suite", ["ops", "train", "infer"], f"Some of {', '.join(_SUITES)}.")
_PEER = flags.DEFINE_enum("peer", None, ["torchvision"], "Also time this peer in the same run.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 8, "Of ops, train and data.", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 5, "Timings of each figure.", lower_bound=1)
_NUM_CLASSES = flags.DEFINE_integer("num_classes", 21, "Background included.", lower_bound=2)
_NUM_OBJECTS = flags.DEFINE_integer("num_objects", 8, "On each random picture.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "A JSON file for the figures.")


def main() -> None:
    """Times what --suite asks for."""
    if unknown := set(_SUITE.value) - set(_SUITES):
        raise ValueError(f"--suite: expected some of {', '.join(_SUITES)}, got {unknown}")
    values = _CONFIG.value
    sizes = {"model.num_classes": _NUM_CLASSES.value, "train.batch_size": _BATCH_SIZE.value}
    config.override(values, {f"config.{path}": size for path, size in sizes.items()})
    experiment = config.resolve(values)
    timed = functools.partial(timing.timed, repeats=_REPEATS.value)
    timings = []
    if {"ops", "train", "infer"} & set(_SUITE.value):
        timings += timing.time_detector(experiment, timed, _SUITE.value, _NUM_OBJECTS.value)
    if "data" in _SUITE.value:
        timings.append(timing.time_loader(experiment, timed))
    if _PEER.value:
        timings += peer().time_torchvision(
            experiment, timed, _SUITE.value, _BATCH_SIZE.value, _NUM_OBJECTS.value
        )
    devices = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    if _OUTPUT.value:
        figures = {
            "config": experiment.name,
            "device": devices,
            "jax": jax.__version__,
            "timings": [one._asdict() for one in timings],
        }
        pathlib.Path(_OUTPUT.value).write_text(json.dumps(figures, indent=2) + "\n")
    headings = ("", "median", "least", "most", "batch", "first call, s")
    rows = [
        (name, *(f"{t:.2f}" for t in times), str(batch_size), f"{first:.1f}")
        for name, *times, batch_size, first in timings
    ]
    title = f"{experiment.name}, {devices}: ms an image"
    cli.print_table(TextTable(title, headings, rows).terminal())


def peer() -> types.ModuleType:
    """Returns the module that times torchvision, which stands outside of the package."""
    try:
        return importlib.import_module("benchmarks.torchvision_benchmark")
    except ModuleNotFoundError:
        raise ValueError(
            "--peer: expected the folder benchmarks/ of a checkout in the current folder"
        ) from None


if __name__ == "__main__":
    cli.run(main)
