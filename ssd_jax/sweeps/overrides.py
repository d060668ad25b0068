"""What a sweep file is written with: lists of overrides, from grids, lists, draws and seeds.

A sweep file defines `get_sweep()`, which returns the overrides of each trial as a dict of
{"config.group.field": value}, and may define `CONFIG`, the config that they are for, and `COMMON`,
overrides of all trials. Everything here returns lists of such dicts, so that they are joined with
`+` and multiplied with `product`:

    CONFIG = "configs/quickstart.py"

    def get_sweep():
        scales = sweeps.grid({"config.anchors.s_min": (0.1, 0.15, 0.2)})
        return sweeps.product(scales, sweeps.seeds(3))

An override of "config.name" names a setting, in tables and in the folder of its runs.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float
from scipy.stats import qmc

Overrides = dict[str, Any]

SEED = "config.train.seed"


def grid(values: Mapping[str, Sequence[Any]]) -> list[Overrides]:
    """Returns every combination of the fields' values; the last field changes fastest."""
    _require_values("grid", values)
    return [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]


def zipped(values: Mapping[str, Sequence[Any]]) -> list[Overrides]:
    """Returns the fields' first values together, then their second ones, and so on.

    Raises:
        ValueError: where the fields have different numbers of values.
    """
    _require_values("zipped", values)
    lengths = {name: len(each) for name, each in values.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"sweeps.zipped: expected as many values of every field, got {lengths}")
    return [dict(zip(values, each, strict=True)) for each in zip(*values.values(), strict=True)]


def product(*parts: Iterable[Overrides]) -> list[Overrides]:
    """Returns every combination of the parts' overrides, each joined into one.

    Raises:
        ValueError: where two parts set the same field.
    """
    joined = []
    for combination in itertools.product(*map(list, parts)):
        trial: Overrides = {}
        for overrides in combination:
            if twice := sorted(trial.keys() & overrides.keys()):
                raise ValueError(f"sweeps.product: {', '.join(twice)} is set by two of the parts")
            trial |= overrides
        joined.append(trial)
    return joined


def named(settings: Mapping[str, Overrides]) -> list[Overrides]:
    """Returns the settings of an ablation, each with its name as `config.name`."""
    return [{"config.name": name, **overrides} for name, overrides in settings.items()]


def seeds(n: int) -> list[Overrides]:
    """Returns the seeds 0 .. n-1 of `config.train.seed`."""
    if n < 1:
        raise ValueError(f"sweeps.seeds: expected at least 1, got {n}")
    return [{SEED: seed} for seed in range(n)]


class Distribution(Protocol):
    """What a field's value is drawn from."""

    def at(self, u: float) -> Any:
        """Returns the value below which a part `u`, in [0, 1), of the distribution lies."""
        ...


@dataclasses.dataclass(frozen=True)
class uniform:  # noqa: N801  written like a function in a sweep file
    """Every number from low to high alike."""

    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuses an empty range."""
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"sweeps.uniform: expected low < high, got {self.low}, {self.high}")

    def at(self, u: float) -> float:
        """See `Distribution.at`."""
        return self.low + u * (self.high - self.low)


@dataclasses.dataclass(frozen=True)
class log_uniform:  # noqa: N801
    """Every order of magnitude from low to high alike."""

    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuses what has no logarithm, and an empty range."""
        if not 0 < self.low < self.high < math.inf:
            raise ValueError(
                f"sweeps.log_uniform: expected 0 < low < high, got {self.low}, {self.high}"
            )

    def at(self, u: float) -> float:
        """See `Distribution.at`."""
        return self.low * (self.high / self.low) ** u


@dataclasses.dataclass(frozen=True)
class integers:  # noqa: N801
    """Every whole number from low to high, both included, alike."""

    low: int
    high: int

    def __post_init__(self) -> None:
        """Refuses an empty range."""
        if not self.low <= self.high:
            raise ValueError(f"sweeps.integers: expected low <= high, got {self.low}, {self.high}")

    def at(self, u: float) -> int:
        """See `Distribution.at`."""
        return self.low + int(u * (self.high - self.low + 1))


class choice:  # noqa: N801
    """One of some values, alike."""

    def __init__(self, *values: Any) -> None:
        if not values:
            raise ValueError("sweeps.choice: expected at least one value, got none")
        self.values = values

    def at(self, u: float) -> Any:
        """See `Distribution.at`."""
        return self.values[int(u * len(self.values))]


def random(fields: Mapping[str, Distribution], n: int, *, seed: int = 0) -> list[Overrides]:
    """Returns n independent draws of the fields; the same for the same seed.

    The first draws of a larger n are those of a smaller one.
    """
    _require_draws("random", fields, n)
    return _draws(fields, np.random.default_rng(seed).random((n, len(fields))))


def sobol(fields: Mapping[str, Distribution], n: int, *, seed: int = 0) -> list[Overrides]:
    """Returns the first n points of a Sobol sequence over the fields: more even than `random`.

    The sequence is shifted as a whole, modulo 1, by the seed (Cranley & Patterson, "Randomization
    of Number Theoretic Methods for Multiple Integration", 1976). A power of two covers the fields'
    ranges best. The first points of a larger n are those of a smaller one.
    """
    _require_draws("sobol", fields, n)
    points = qmc.Sobol(len(fields), scramble=False).random_base2(max(0, n - 1).bit_length())[:n]
    shift = np.random.default_rng(seed).random(len(fields))
    return _draws(fields, (points + shift) % 1)


def _draws(fields: Mapping[str, Distribution], points: Float[np.ndarray, "n d"]) -> list[Overrides]:
    def value(distribution: Distribution, u: float) -> Any:
        drawn = distribution.at(u)
        # Four digits are enough to search with, and to read in a table and a folder's name.
        return float(f"{drawn:.4g}") if isinstance(drawn, float) else drawn

    return [
        {name: value(each, float(u)) for (name, each), u in zip(fields.items(), point, strict=True)}
        for point in points
    ]


def _require_values(where: str, values: Mapping[str, Sequence[Any]]) -> None:
    for name, each in values.items():
        if isinstance(each, str) or not isinstance(each, Sequence) or not each:
            raise ValueError(f"sweeps.{where}: expected a list of values of {name}, got {each!r}")


def _require_draws(where: str, fields: Mapping[str, Distribution], n: int) -> None:
    if n < 1 or not fields:
        raise ValueError(
            f"sweeps.{where}: expected at least one field and one draw, got {[*fields]} and {n}"
        )
    for name, each in fields.items():
        if not hasattr(each, "at"):
            raise ValueError(
                f"sweeps.{where}: expected uniform, log_uniform, integers or choice for {name}, "
                f"got {each!r}"
            )
