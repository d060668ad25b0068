r"""Draws the anchors that a config matches to the objects of a data set, or clusters its boxes.

    python -m launch.anchors --config configs/mobilenet_ssd.py:practice \
      --data practice:train --pictures 6 --output out

Pictures are warped whole to the network's input, as in evaluation. Objects are dashed; the anchors
that are trained towards an object are thin, in the colour of its class.

    python -m launch.anchors --config configs/dssd.py:321,voc,ssd --kmeans --output out \
      --data instances_voc_trainval2007.json.gz --data instances_voc_trainval2012.json.gz

clusters the boxes on the network's input by size and by aspect ratio. --data is NAME:SPLIT of a
prepared data set or a COCO file of instances, and may be repeated for --kmeans.
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
from ssd_jax.study import annotations, cluster_plots, clustering, matched_anchors

_CONFIG = cli.define_config(required=True)
_DATA = flags.DEFINE_multi_string("data", [], "By default config.data.train.")
_KMEANS = flags.DEFINE_bool("kmeans", False, "Cluster the boxes instead of drawing anchors.")
_CLUSTERS = flags.DEFINE_integer("clusters", 10, "kmeans: the most to try.", lower_bound=2)
_PICTURES = flags.DEFINE_integer("pictures", 6, "How many to draw.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "A folder for the pictures.", required=True)

log = logging.getLogger("ssd_jax")


def main() -> None:
    """Runs the command."""
    experiment = config.resolve(_CONFIG.value)
    folder = pathlib.Path(_OUTPUT.value)
    data = _DATA.value or [experiment.data.train]
    if _KMEANS.value:
        cluster(experiment, data, folder)
    elif len(data) > 1:
        raise ValueError("--data: expected one data set to draw; several are for --kmeans")
    else:
        draw_matched(experiment, data[0], folder)


def cluster(experiment: config.Experiment, data: list[str], folder: pathlib.Path) -> None:
    """Prints the sizes and ratios of 1 to --clusters clusters, and draws a page."""
    found = annotations.read(data, experiment.data.data_dir)
    height, width = experiment.model.image_size
    sides = found.sides() * np.array((width, height))
    sides = sides[(sides > 0).all(axis=1)]
    numbers = range(1, _CLUSTERS.value + 1)
    sizes = [clustering.by_size(sides, k) for k in numbers]
    ratios = [clustering.by_ratio(sides, k) for k in numbers]
    chosen = tuple(clustering.elbow([c.error for c in each]) for each in (sizes, ratios))
    table = Table(title=f"{len(sides)} boxes of {found.name} on {height} x {width}")
    for heading in ("k", "mean IoU", "sizes, pixels", "log distance", "ratios"):
        table.add_column(heading, justify="right" if heading != "sizes, pixels" else "left")
    for k, size, ratio in zip(numbers, sizes, ratios, strict=True):
        table.add_row(
            str(k),
            f"{1 - size.error:.3f}" + "*" * (k == chosen[0]),
            "  ".join(f"{w:.0f}x{h:.0f}" for w, h in size.centres),
            f"{ratio.error:.3f}" + "*" * (k == chosen[1]),
            "  ".join(f"{r:.2f}" for r in ratio.centres[:, 0]),
        )
    Console().print(table)
    print("* after which a further cluster takes away less than a fifth of the error")
    folder.mkdir(parents=True, exist_ok=True)
    page = cluster_plots.page(sides, (height, width), sizes, ratios, chosen)
    page.savefig(folder / "clusters.png", dpi=110)
    log.info("Drawn: %s", folder / "clusters.png")


def draw_matched(experiment: config.Experiment, name: str, folder: pathlib.Path) -> None:
    """Draws the first pictures of a split, and counts the anchors of their objects."""
    source = records.open_source(name, experiment.data.data_dir)
    experiment = config.with_classes(experiment, source.class_names, name)
    detector = detectors.build(experiment)
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
    log.info("Drawn: %s", sheet)


if __name__ == "__main__":
    cli.run(main)
