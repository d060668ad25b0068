"""How long a step would take on more chips, from one compiled program and the links.

Weak scaling: every chip keeps its images, so that its computation takes as long on any number of
chips, and the collectives are those of the compiled program with larger groups. An all-reduce of
V bytes over n chips is a ring: each chip sends and receives 2 (n - 1) / n V, as fast as its links
allow, and waits for every hop.

* A TPU splits the value over the axes of its torus. An axis that closes to a ring (the whole side
  of a pod, or a multiple of 4 in three dimensions) sends both ways at once, another one way. That
  gives what Google publishes: 51.2 TB/s for a pod of 256 v5e, 200 GB/s a chip. Pods are joined by
  the network.
* GPUs reduce within the host, then each its part between the hosts, then gather within the host.

Left out: contention, slow hosts, the input, and what a compiler would combine otherwise.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

from ssd_jax.compiled.chips import Chip
from ssd_jax.compiled.collectives import Collective

# Below this share of the chips' own rate the scaling counts as broken.
LEAST_EFFICIENCY = 0.9


class Scaled(NamedTuple):
    """The expected step on a number of chips."""

    chips: int
    seconds: float
    waiting: float  # seconds of it that are spent in collectives
    efficiency: float  # of one chip's rate
    least_share: float  # of the images that a chip has: with fewer it would be LEAST_EFFICIENCY


@dataclasses.dataclass(frozen=True)
class Group:
    """Chips that reduce together.

    Attributes:
        chip: of which kind.
        sides: of the torus within a pod, or (GPUs of a host,).
        islands: pods or hosts, which the network joins.
    """

    chip: Chip
    sides: tuple[int, ...]
    islands: int = 1

    @classmethod
    def of(cls, chip: Chip, size: int) -> "Group":
        """Returns a group of so many chips, as square and as close together as they can be."""
        near = math.gcd(size, chip.island) if size > chip.island else size
        if chip.platform != "tpu":
            return cls(chip, (near,), size // near)
        sides = [1] * chip.dimensions
        for divisor in _prime_factors(near):
            sides[sides.index(min(sides))] *= divisor
        return cls(chip, tuple(sorted(sides)), size // near)

    @property
    def inside(self) -> int:
        """The chips of one island."""
        return math.prod(self.sides)

    def all_reduce_seconds(self, size: int) -> float:
        """Returns the time of an all-reduce of `size` bytes."""
        chip = self.chip
        if self.inside * self.islands == 1:
            return 0.0
        seconds = chip.base_latency
        if self.inside > 1:
            seconds += 2 * (self.inside - 1) / self.inside * size / self._rate()
            seconds += 2 * self._hops() * chip.latency
        if self.islands > 1:
            part = size / self.inside
            seconds += 2 * (self.islands - 1) / self.islands * part / chip.network_rate
            seconds += 2 * math.ceil(math.log2(self.islands)) * chip.network_latency
        return seconds

    def _closes(self, side: int) -> bool:
        """Returns whether an axis of a TPU's torus is a ring."""
        return side >= 4 and side % (16 if len(self.sides) == 2 else 4) == 0

    def _rate(self) -> float:
        if self.chip.platform != "tpu":
            return self.chip.links * self.chip.link_rate
        ways = sum(2 if self._closes(side) else 1 for side in self.sides if side > 1)
        return ways * self.chip.link_rate

    def _hops(self) -> int:
        if self.chip.platform != "tpu":
            return self.inside - 1
        return sum(side // 2 if self._closes(side) else side - 1 for side in self.sides)


def seconds_of(collective: Collective, chip: Chip, size: int) -> float:
    """Returns the time of one collective in a group of so many chips.

    Gathering and scattering are half an all-reduce; what else there is, is sent once.
    """
    group = Group.of(chip, size)
    whole = group.all_reduce_seconds(collective.bytes)
    return whole if collective.operation == "all-reduce" else whole / 2


def waiting(collectives: Sequence[Collective], chip: Chip, compiled: int, chips: int) -> float:
    """Returns the seconds of a step's collectives, one after another.

    What an asynchronous one hides behind the computation is not known, so none is taken to.
    A group of all the devices that the program was compiled for grows with them; a smaller one, as
    of BatchNorm, keeps its size. One in a loop of unknown length counts once.
    """
    total = 0.0
    for one in collectives:
        size = chips if one.group_size >= compiled else min(one.group_size, chips)
        total += (one.times or 1) * seconds_of(one, chip, size)
    return total


def scaled(
    seconds: float,
    collectives: Sequence[Collective],
    chip: Chip,
    compiled: int,
    chips: int,
) -> Scaled:
    """Returns the expected step on a number of chips.

    Args:
        seconds: of the computation of a step on one chip.
        collectives: of the compiled program.
        chip: the figures of its chips.
        compiled: the devices that it was compiled for.
        chips: how many there would be.
    """
    wait = waiting(collectives, chip, compiled, chips)
    # The computation of fewer images takes less time, and the collectives as long.
    least = LEAST_EFFICIENCY / (1 - LEAST_EFFICIENCY) * wait / seconds
    return Scaled(chips, seconds + wait, wait, seconds / (seconds + wait), least)


def breaks_at(
    seconds: float, collectives: Sequence[Collective], chip: Chip, compiled: int, most: int = 2**14
) -> int | None:
    """Returns the least power of two of chips whose efficiency is below LEAST_EFFICIENCY."""
    chips = 1
    while chips <= most:
        found = scaled(seconds, collectives, chip, compiled, chips)
        if found.efficiency < LEAST_EFFICIENCY:
            return chips
        chips *= 2
    return None


def _prime_factors(number: int) -> list[int]:
    """Returns the prime factors of a number, largest first."""
    found, divisor = [], 2
    while number > 1:
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor += 1
    return found[::-1]
