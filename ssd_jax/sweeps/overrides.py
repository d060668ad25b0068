"""The vocabulary of sweep files: lists of overrides, from grids, lists, draws and seeds.

A sweep file defines `get_sweep()`, which returns the overrides of each trial as a dict of
{"config.group.field": value}. It may define `CONFIG`, the config that they are for, and `COMMON`,
overrides of all trials. The functions here return lists of such dicts, which `+` joins and
`product` multiplies:

    CONFIG = "configs/quickstart.py"

    def get_sweep():
        scales = sweeps.grid({"config.anchors.s_min": (0.1, 0.15, 0.2)})
        return sweeps.product(scales, sweeps.seeds(3))

An override of "config.name" names a setting, in tables and in the folder of its runs.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

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


@dataclasses.dataclass(frozen=True)
class Distribution:
    """The distribution that a field's value is drawn from."""

    at: Callable[[float], Any]  # the value below which a part, in [0, 1), of the distribution lies


def uniform(low: float, high: float) -> Distribution:
    """Returns the distribution in which all numbers from low to high are alike."""
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"sweeps.uniform: expected low < high, got {low}, {high}")
    return Distribution(lambda u: low + u * (high - low))


def log_uniform(low: float, high: float) -> Distribution:
    """Returns the distribution in which all orders of magnitude from low to high are alike."""
    if not 0 < low < high < math.inf:
        raise ValueError(f"sweeps.log_uniform: expected 0 < low < high, got {low}, {high}")
    return Distribution(lambda u: low * (high / low) ** u)


def integers(low: int, high: int) -> Distribution:
    """Returns the distribution in which all whole numbers from low to high inclusive are alike."""
    if not low <= high:
        raise ValueError(f"sweeps.integers: expected low <= high, got {low}, {high}")
    return Distribution(lambda u: low + int(u * (high - low + 1)))


def choice(*values: Any) -> Distribution:
    """Returns the distribution in which all values given are alike."""
    if not values:
        raise ValueError("sweeps.choice: expected at least one value, got none")
    return Distribution(lambda u: values[int(u * len(values))])


def random(fields: Mapping[str, Distribution], n: int, *, seed: int = 0) -> list[Overrides]:
    """Returns n independent draws of the fields, the same for the same seed.

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
