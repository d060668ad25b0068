r"""Measures what a config's anchors find in a data set, without training.

    python -m launch.anchors --config configs/mobilenet_ssd.py:practice --output out

prints how many objects have an anchor at the matching IoU, by size, aspect, class and map, and
writes coverage.json and coverage.html (one page that needs no network). --data is NAME:SPLIT of a
prepared data set, by default the config's training data, or a COCO file of instances, which needs
no pictures; several, with commas or repeated, are read together. The first pictures of a prepared
data set are drawn too (anchors.png): objects dashed, their positive anchors thin, in the colour of
the class. Pictures are warped whole to the network's input, as in evaluation.

    python -m launch.anchors --config configs/ssd.py:300,voc --compare configs/ssd.py:300,coco \
      --compare "configs/ssd.py:300,voc --config.name=clipped --config.anchors.clip=corners" \
      --data "trainval=voc/2007:trainval,voc/2012:trainval" --data "test=voc/2007:test" --output out

puts configs side by side, each with its own overrides, on data sets that have names and are
measured one by one.

    python -m launch.anchors --config configs/dssd.py:321,voc,ssd --kmeans --output out \
      --data trainval.json.gz

clusters the boxes on the network's input by size and by aspect ratio (clusters.png), and proposes
anchors for the network's maps as flags for launch.train (proposal.flags), with their coverage. The
first of several named data sets is clustered, and all are measured.
"""

import dataclasses
import logging
import pathlib
import shlex
from collections.abc import Sequence

from absl import flags
from rich.console import Console

from ssd_jax import config
from ssd_jax.coverage import annotations, matched_anchors, proposal, tables
from ssd_jax.coverage.clusters_report import clusters_report
from ssd_jax.coverage.report import report
from ssd_jax.data import records
from ssd_jax.detectors import anchor_spec

from . import cli

_CONFIG = cli.define_config(required=True)
_COMPARE = flags.DEFINE_multi_string(
    "compare", [], 'Further configs, each with its overrides: "FILE[:VARIANT] [--config.x=y ...]".'
)
_DATA = flags.DEFINE_multi_string("data", [], "[NAME=]SOURCES. By default config.data.train.")
_SIZES = flags.DEFINE_enum(
    "sizes", "picture", ("picture", "input"), "Measure small and large objects on this."
)
_KMEANS = flags.DEFINE_bool("kmeans", False, "Cluster the boxes, and propose anchors.")
_CLUSTERS = flags.DEFINE_integer("clusters", 20, "kmeans: the most clusters to try.", lower_bound=2)
_PICTURES = flags.DEFINE_integer("pictures", 6, "How many pictures to draw.", lower_bound=0)
_OUTPUT = flags.DEFINE_string("output", None, "The folder for the results.", required=True)

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
        experiments.append(_propose(experiments[0], data[0], folder))
    prepared = [part for parts in sources.values() for part in parts if not _is_file(part)]
    source = records.open_source(prepared[0], data_dir) if prepared else None
    for boxes in data:
        if boxes.dropped:
            log.info("%s: %d crowds and boxes without area left out", boxes.name, boxes.dropped)
    for table in report(experiments, data, folder, measured_on=_SIZES.value, source=source):
        cli.print_table(table)
    Console().print(tables.EXPLANATION, highlight=False, markup=False)
    log.info("Written: %s and coverage.json", folder / "coverage.html")
    if source is not None and _PICTURES.value and not _KMEANS.value:
        matched_anchors.sheet(experiments[0], source, _PICTURES.value).save(folder / "anchors.png")
        log.info("Drawn: %s", folder / "anchors.png")


def _propose(
    experiment: config.Experiment, found: annotations.BoxSet, folder: pathlib.Path
) -> config.Experiment:
    """Prints clusters and the flags of anchors made from them; returns the config with these."""
    table, page = clusters_report(found, experiment.model.image_size, _CLUSTERS.value)
    cli.print_table(table)
    page.savefig(folder / "clusters.png", dpi=110)
    log.info("Drawn: %s", folder / "clusters.png")
    clusters = max(_CLUSTERS.value, 2 * len(anchor_spec(experiment).maps))
    anchors = proposal.propose(experiment, found, clusters=clusters)
    lines = proposal.flags(anchors)
    file = folder / "proposal.flags"
    file.write_text("".join(f"{line}\n" for line in lines))
    print(f"\nProposed anchors, for launch.train with the same --config, or --flagfile={file}:")
    print("  " + " \\\n  ".join(map(shlex.quote, lines)) + "\n")
    return dataclasses.replace(experiment, anchors=anchors, name=f"{experiment.name}, proposed")


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


if __name__ == "__main__":
    cli.run(main)
