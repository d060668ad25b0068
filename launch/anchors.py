r"""Draws the anchors that a config matches to the objects of a data set.

    python -m launch.anchors --config configs/mobilenet_ssd.py:practice \
      --data practice:train --pictures 6 --output out

Pictures are warped whole to the network's input, as in evaluation. Objects are dashed; the anchors
that are trained towards an object are thin, in the colour of its class.
"""

import logging
import pathlib

import numpy as np
from absl import flags
from rich.console import Console
from rich.table import Table

from launch import cli
from ssd_jax import config, detectors, draw
from ssd_jax.data import records
from ssd_jax.study import matched_anchors

_CONFIG = cli.define_config(required=True)
_DATA = flags.DEFINE_string("data", None, "NAME:SPLIT; by default config.data.train.")
_PICTURES = flags.DEFINE_integer("pictures", 6, "How many to draw.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "A folder for the pictures.", required=True)


def main() -> None:
    """Draws the first pictures of a split, and counts the anchors of their objects."""
    experiment = config.resolve(_CONFIG.value)
    name = _DATA.value or experiment.data.train
    source = records.open_source(name, experiment.data.data_dir)
    experiment = config.with_classes(experiment, source.class_names, name)
    detector = detectors.build(experiment)
    folder = pathlib.Path(_OUTPUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    pictures, counts, overlaps = [], [], []
    for index in range(min(_PICTURES.value, len(source))):
        record = source[index]
        matched = matched_anchors.matched_anchors(
            record, detector.anchors, iou_threshold=experiment.loss.iou_threshold
        )
        pictures.append(matched_anchors.picture(record, matched, source.class_names))
        counts += np.bincount(matched.gt_index, minlength=len(record.labels)).tolist()
        overlaps += matched.iou.tolist()
    sheet = folder / "anchors.png"
    draw.contact_sheet(pictures, columns=3).save(sheet)
    table = Table(title=f"{name}, {len(pictures)} pictures, {len(detector.anchors)} anchors")
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("objects", str(len(counts)))
    table.add_row("positive anchors an object, mean", f"{np.mean(counts):.1f}" if counts else "-")
    table.add_row("objects with one anchor", str(sum(count == 1 for count in counts)))
    below = sum(overlap < experiment.loss.iou_threshold for overlap in overlaps)
    table.add_row(f"anchors below IoU {experiment.loss.iou_threshold:g}, taken anyway", str(below))
    Console().print(table)
    logging.getLogger("ssd_jax").info("Drawn: %s", sheet)


if __name__ == "__main__":
    cli.run(main)
