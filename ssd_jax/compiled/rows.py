"""The programs of the table in docs/devices.md."""

from typing import NamedTuple

from ssd_jax.compiled.topology import Topology

IMAGES_PER_CHIP = 32
NUM_CLASSES = 21

DETECTORS = {
    "MobileNet-SSD": "configs/mobilenet_ssd.py:300,voc",
    "SSD300": "configs/ssd.py:300,voc",
    "SSD512": "configs/ssd.py:512,voc",
    "RefineDet320": "configs/refinedet.py:320,vgg16,voc",
    "DSSD321": "configs/dssd.py:321,voc,finetune",
}
TOPOLOGIES = ("h100:8", "a100:8", "v5e:2x2", "v6e:2x2", "v5p:2x2x1")
POD = "v5e:16x16"


class Row(NamedTuple):
    """One program of the table."""

    detector: str
    topology: Topology

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.detector} {self.topology.name}"

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.detector}-{self.topology.name}".replace(":", "-").lower()


def rows() -> list[Row]:
    """Returns all rows, the quickest first."""
    found = [Row(name, Topology.parse(text)) for text in TOPOLOGIES for name in DETECTORS]
    pod = Row("SSD300", Topology.parse(POD))
    after = max(i for i, row in enumerate(found) if row.topology.chip.name == "v5e") + 1
    return [*found[:after], pod, *found[after:]]
