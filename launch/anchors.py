r"""Measures what a config's anchors find in a data set, without training.

    python -m launch.anchors --config configs/mobilenet_ssd.py:practice --output out

prints how many objects have an anchor at the matching IoU, by size, aspect, class and map, and
writes coverage.json and coverage.html (one page that needs no network). --data is by default the
config's training data: NAME:SPLIT of a prepared data set, or a COCO file of instances, which needs
no pictures; several, with commas or repeated, are read together. Of a prepared data set the first
pictures are drawn too (anchors.png): objects are dashed, their positive anchors thin, in the colour
of the class. Pictures are warped whole to the network's input, as in evaluation.

    python -m launch.anchors --config configs/ssd.py:300,voc --compare configs/ssd.py:300,coco \
      --compare "configs/ssd.py:300,voc --config.name=clipped --config.anchors.clip=corners" \
      --data "trainval=voc/2007:trainval,voc/2012:trainval" --data "test=voc/2007:test" --output out

puts configs side by side, each with its own overrides, on data sets that are named and measured one
by one.

    python -m launch.anchors --config configs/dssd.py:321,voc,ssd --kmeans --output out \
      --data trainval.json.gz

clusters the boxes on the network's input by size and by aspect ratio (clusters.png), and proposes
anchors for the network's maps as flags for launch.train (proposal.flags), with what they would
cover. Of several named data sets the first is clustered; the coverage is that of all.
"""

import dataclasses
import json
import logging
import pathlib
import shlex
from collections.abc import Sequence

import numpy as np
from absl import flags
from PIL import Image
from rich.console import Console
from rich.table import Table
from rich.text import Text

from launch import cli
from ssd_jax import config, draw
from ssd_jax.data import images, records
from ssd_jax.detectors.anchors import experiment_spec
from ssd_jax.ops.anchors import generate
from ssd_jax.study import (
    annotations,
    cluster_plots,
    clustering,
    coverage,
    coverage_groups,
    coverage_page,
    coverage_tables,
    matched_anchors,
    proposal,
)

_CONFIG = cli.define_config(required=True)
_COMPARE = flags.DEFINE_multi_string(
    "compare", [], 'Further configs, each with its overrides: "FILE[:VARIANT] [--config.x=y ...]".'
)
_DATA = flags.DEFINE_multi_string("data", [], "[NAME=]SOURCES. By default config.data.train.")
_SIZES = flags.DEFINE_enum(
    "sizes", "picture", ("picture", "input"), "Where 32 x 32 and 96 x 96 pixels are measured."
)
_KMEANS = flags.DEFINE_bool("kmeans", False, "Cluster the boxes, and propose anchors.")
_CLUSTERS = flags.DEFINE_integer("clusters", 20, "kmeans: the most to try.", lower_bound=2)
_PICTURES = flags.DEFINE_integer("pictures", 6, "How many to draw.", lower_bound=0)
_OUTPUT = flags.DEFINE_string("output", None, "A folder for what is written.", required=True)

# Boxes to cluster; of more, so many are drawn at random.
_MOST_CLUSTERED = 50_000

# What coverage depends on.
_COUNTING_GROUPS = ("model.", "anchors.", "loss.")

log = logging.getLogger("ssd_jax")


def main() -> None:
    """Runs the command."""
    experiments = [config.resolve(_CONFIG.value)]
    experiments += [cli.read_config(text) for text in _COMPARE.value]
    folder = pathlib.Path(_OUTPUT.value)
    sources = _data_sets(_DATA.value or [experiments[0].data.train])
    data_dir = experiments[0].data.data_dir
    data = [
        annotations.read(parts, data_dir)._replace(**({"name": name} if name else {}))
        for name, parts in sources.items()
    ]
    folder.mkdir(parents=True, exist_ok=True)
    if _KMEANS.value:
        cluster(experiments[0], data[0], folder)
        experiments.append(propose(experiments[0], data[0], folder))
    prepared = [part for parts in sources.values() for part in parts if not _is_file(part)]
    source = records.open_source(prepared[0], data_dir) if prepared else None
    report(_told_apart(experiments), data, folder, source)
    if source is not None and _PICTURES.value and not _KMEANS.value:
        draw_matched(experiments[0], source, folder)


def report(
    experiments: Sequence[config.Experiment],
    data: Sequence[annotations.BoxSet],
    folder: pathlib.Path,
    source: records.Source | None,
) -> None:
    """Prints the coverage of configs on data sets, and writes coverage.json and coverage.html."""
    found = [coverage.measure(one, boxes) for boxes in data for one in experiments]
    for boxes in data:
        if boxes.dropped:
            log.info("%s: %d crowds and boxes without area left out", boxes.name, boxes.dropped)
    tables = coverage_tables.side_by_side(found, _SIZES.value)
    if len(found) == 1:
        tables += coverage_tables.details(found[0], _SIZES.value)
    for table in tables:
        cli.print_table(table.terminal())
    Console().print(coverage_tables.EXPLANATION, highlight=False, markup=False)
    values = [coverage_groups.as_json(one, _SIZES.value) for one in found]
    (folder / "coverage.json").write_text(json.dumps(values, indent=1) + "\n")
    picture = None
    if source is not None:
        with images.memory_limit(None):  # it was decoded when the data set was prepared
            picture = Image.fromarray(images.decode(source[0].image))
    page = coverage_page.page(found, measured_on=_SIZES.value, picture=picture)
    (folder / "coverage.html").write_text(page)
    log.info("Written: %s and coverage.json", folder / "coverage.html")


def cluster(experiment: config.Experiment, found: annotations.BoxSet, folder: pathlib.Path) -> None:
    """Prints the sizes and ratios of 1 to --clusters clusters, and draws a page."""
    height, width = experiment.model.image_size
    boxes = found.sample(_MOST_CLUSTERED) * np.array((width, height) * 2)
    sides = boxes[:, 2:] - boxes[:, :2]
    sides = sides[(sides > 0).all(axis=1)]
    if not len(sides):
        raise ValueError(f"--kmeans: {found.name} has no boxes")
    numbers = range(1, min(_CLUSTERS.value, clustering.most(sides)) + 1)
    sizes = [clustering.by_size(sides, k) for k in numbers]
    ratios = [clustering.by_ratio(sides, k) for k in numbers]
    chosen = tuple(clustering.elbow([c.error for c in each]) for each in (sizes, ratios))
    table = Table(title=Text(f"{len(sides)} boxes of {found.name} on {height} x {width}"))
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
    cli.print_table(table)
    print("* after which a further cluster takes away less than a fifth of the error")
    page = cluster_plots.page(sides, (height, width), sizes, ratios, chosen)
    page.savefig(folder / "clusters.png", dpi=110)
    log.info("Drawn: %s", folder / "clusters.png")


def propose(
    experiment: config.Experiment, found: annotations.BoxSet, folder: pathlib.Path
) -> config.Experiment:
    """Prints and writes the flags of anchors made from the clusters, and returns their config."""
    clusters = max(_CLUSTERS.value, 2 * len(experiment_spec(experiment).maps))
    anchors = proposal.propose(experiment, found, clusters=clusters)
    lines = proposal.overrides(experiment.anchors, anchors)
    file = folder / "proposal.flags"
    file.write_text("".join(f"{line}\n" for line in lines))
    print(f"\nProposed anchors, for launch.train with the same --config, or --flagfile={file}:")
    print("  " + " \\\n  ".join(map(shlex.quote, lines)) + "\n")
    return dataclasses.replace(experiment, anchors=anchors, name=f"{experiment.name}, proposed")


def draw_matched(
    experiment: config.Experiment, source: records.Source, folder: pathlib.Path
) -> None:
    """Draws the first pictures of a data set with the anchors that are trained on them."""
    anchors = generate(experiment_spec(experiment))
    pictures = []
    for index in range(min(_PICTURES.value, len(source))):
        record = source[index]
        matched = matched_anchors.matched_anchors(
            record, anchors, iou_threshold=experiment.loss.iou_threshold
        )
        pictures.append(matched_anchors.picture(record, matched, source.class_names))
    sheet = folder / "anchors.png"
    draw.contact_sheet(pictures, columns=3).save(sheet)
    log.info("Drawn: %s", sheet)


def _data_sets(texts: Sequence[str]) -> dict[str, list[str]]:
    """Returns the sources of each named data set, and of the one without a name ("")."""
    found: dict[str, list[str]] = {}
    for text in texts:
        name, equals, sources = text.rpartition("=")
        if equals and not (name.strip() and sources.strip()):
            raise ValueError(f"--data: expected NAME=SOURCES or SOURCES, got {text!r}")
        parts = [part.strip() for part in sources.split(",")]
        found.setdefault(name.strip(), []).extend(parts)
    return found


def _is_file(source: str) -> bool:
    return source.endswith((".json", ".json.gz"))


def _told_apart(experiments: Sequence[config.Experiment]) -> list[config.Experiment]:
    """Returns the experiments; one with the name of another says what it has changed."""
    named: list[config.Experiment] = []
    for one in experiments:
        namesakes = [other for other in experiments[: len(named)] if other.name == one.name]
        if namesakes:
            fields = config.differences(namesakes[0], one)
            changed = [field for field in fields if field.startswith(_COUNTING_GROUPS)]
            one = dataclasses.replace(one, name=f"{one.name} ({', '.join(changed) or 'the same'})")
        named.append(one)
    return named


if __name__ == "__main__":
    cli.run(main)
