"""Where the cycles of a step go: the part of the detector that each instruction belongs to."""

import collections
import math
import re
from typing import NamedTuple

from ssd_jax.compiled import loops
from ssd_jax.compiled.collectives import OPERATIONS
from ssd_jax.compiled.hlo import Instruction, Program
from ssd_jax.compiled.origins import Origins

# A module's path within the network, as Flax writes it into the names of operations.
_STAGE = re.compile(r"/backbone/([a-z]+\d+)?")
_MODULES = (
    (re.compile(r"/(maps/)?(extra\d+|\w+_norm|tcb\d+|deconvolution\d+|neck)\b"), "extras, neck"),
    (re.compile(r"/(arm\d+_|head\d+|prediction\d+)"), "heads"),
)

# Otherwise the innermost of these files on an operation's stack decides.
_FILES = (
    ("ssd_jax/ops/matching.py", "matching, mining"),
    ("ssd_jax/ops/mining.py", "matching, mining"),
    ("ssd_jax/ops/nms.py", "decoding, NMS"),
    ("ssd_jax/detectors/decoder.py", "decoding, NMS"),
    ("ssd_jax/detectors/input.py", "augmentation, input"),
    ("ssd_jax/data/", "augmentation, input"),
    ("ssd_jax/ops/photometric.py", "augmentation, input"),
    ("ssd_jax/ops/crop.py", "augmentation, input"),
    ("ssd_jax/ops/resample.py", "augmentation, input"),
    ("ssd_jax/ops/losses.py", "loss"),
    ("ssd_jax/detectors/multibox.py", "loss"),
    ("ssd_jax/detectors/losses.py", "loss"),
    ("ssd_jax/models/", "heads"),
    ("ssd_jax/inference.py", "augmentation, input"),
    ("optax/", "gradient, update"),
    ("ssd_jax/train/", "gradient, update"),
)
OTHER = "other"

# Instructions that cost nothing by themselves, so that a missing estimate says nothing.
_FREE = frozenset(
    (
        "parameter",
        "constant",
        "tuple",
        "get-tuple-element",
        "bitcast",
        "while",
        "call",
        "conditional",
        "after-all",
        "opt-barrier",
        "AllocateBuffer",
        # Of memory, beside the computation:
        "copy-start",
        "copy-done",
        "slice-start",
        "slice-done",
    )
)


class Part(NamedTuple):
    """The cycles of one part of a step, on one device."""

    name: str
    forward: int
    backward: int

    @property
    def cycles(self) -> int:
        """Both together."""
        return self.forward + self.backward


class Cycles(NamedTuple):
    """The compiler's estimates for a step, by part."""

    parts: tuple[Part, ...]  # in the order in which a step comes by them
    without_estimate: dict[str, int]  # how many instructions of each kind have none

    @property
    def total(self) -> int:
        """The cycles of a step; a loop of an unknown number of rounds counts once."""
        return sum(part.cycles for part in self.parts)


def name_of(op_name: str, stack: tuple[str, ...]) -> str:
    """Returns the part that an operation belongs to, from its name and its place in the source."""
    if match := _STAGE.search(op_name):
        return f"backbone {match.group(1) or ''}".strip()
    for pattern, name in _MODULES:
        if pattern.search(op_name):
            return name
    if op_name.startswith("state."):
        return "gradient, update"
    for place in stack:
        for file, name in _FILES:
            if place.startswith(file):
                return name
    return OTHER


def by_part(program: Program) -> Cycles:
    """Returns where the estimated cycles of a program go.

    A fused computation counts as what its result is, and a loop's body as often as it runs.
    """
    forward: collections.Counter[str] = collections.Counter()
    backward: collections.Counter[str] = collections.Counter()
    missing: collections.Counter[str] = collections.Counter()
    origins, times = Origins(program), loops.times(program)
    fused = {
        called
        for _, one in program.walk()
        if one.opcode not in ("while", "call", "conditional")
        for called in one.called
    }
    for computation, one in program.walk():
        if computation in fused:
            continue
        if one.cycles is None:
            kind = _kind(one)
            is_collective = kind.removesuffix("-start").removesuffix("-done") in OPERATIONS
            if kind in _FREE or is_collective:
                continue
            if any(math.prod(array.shape) > 1 for array in one.types):
                missing[kind] += 1
            continue
        origin = origins.of(computation, one)
        part = name_of(origin.op_name, origins.stack(origin))
        side = backward if "transpose(" in origin.op_name else forward
        side[part] += one.cycles * times[computation].count
    parts = (Part(name, forward[name], backward[name]) for name in forward | backward)
    return Cycles(tuple(sorted(parts, key=_place)), dict(missing.most_common()))


def _kind(one: Instruction) -> str:
    target = one.attribute(r'custom_call_target="([^"]*)"')
    return target or one.opcode


_ORDER = (
    "augmentation, input",
    "backbone",
    "extras, neck",
    "heads",
    "matching, mining",
    "loss",
    "decoding, NMS",
    "gradient, update",
    OTHER,
)


def _place(part: Part) -> tuple[int, list[str | int]]:
    """Returns the sorting key of a part: the order of a step, stages by their numbers."""
    name, _, stage = part.name.partition(" ")
    place = _ORDER.index("backbone" if name == "backbone" else part.name)
    letters = stage.rstrip("0123456789")
    return place, [letters, int(stage[len(letters) :] or 0)] if name == "backbone" else []
