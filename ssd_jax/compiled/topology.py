"""The names of topologies, such as v5e:4x4 or h100:16x8, and the devices that they stand for."""

import contextlib
import dataclasses
import importlib.util
import math
import re
from typing import Self

import jax
from jax.experimental import topologies

from ssd_jax.compiled.chips import CHIPS, Chip

FORMS = (
    "v5e:4x4, v6e:2x4, v4:2x2x1 or v5p:2x2x1 (a TPU's torus), h100:8 or a100:8 (the GPUs of a "
    "host), h100:16x8 (hosts x GPUs), cpu:8 (simulated devices)"
)

# The TPUs of which two cores make one device.
_MEGACORE = ("v4", "v5p")


@dataclasses.dataclass(frozen=True)
class Topology:
    """Chips and how they are connected.

    Attributes:
        name: as it was given.
        chip: the figures of each.
        shape: the sides of a TPU's torus; (hosts, GPUs of each); or (devices,) of the CPU.
    """

    name: str
    chip: Chip
    shape: tuple[int, ...]

    @classmethod
    def parse(cls, name: str) -> Self:
        """Reads a name.

        Raises:
            ValueError: for an unknown chip or another shape than its kind has.
        """
        kind, _, sizes = name.strip().partition(":")
        chip = CHIPS.get(kind)
        if chip is None:
            known = ", ".join(CHIPS)
            raise ValueError(f"--topology: expected a chip of {known}; got {name!r}, not {FORMS}")
        if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", sizes):
            raise ValueError(f"--topology: expected CHIP:SIZES, as in {FORMS}; got {name!r}")
        shape = tuple(map(int, sizes.split("x")))
        if chip.platform == "cuda" and len(shape) == 1:
            shape = (1, *shape)
        dimensions = {"tpu": chip.dimensions, "cuda": 2, "cpu": 1}[chip.platform]
        if len(shape) != dimensions:
            raise ValueError(
                f"--topology: {kind} has {dimensions} sizes joined by x, as in {FORMS}; "
                f"got {name!r}"
            )
        return cls(name.strip(), chip, shape)

    @property
    def num_devices(self) -> int:
        """The devices of the program."""
        return math.prod(self.shape)

    @property
    def num_hosts(self) -> int:
        """The machines, where a GPU's topology says it; otherwise 1."""
        return self.shape[0] if self.chip.platform == "cuda" else 1

    def devices(self) -> list[jax.Device]:
        """Returns devices to compile for; none of them can run anything but a CPU's.

        Raises:
            ValueError: where the compiler is not installed, naming the extra, or refuses the shape.
        """
        platform = self.chip.platform
        try:
            if platform == "tpu":
                return self._tpu_devices()
            if platform == "cuda":
                return self._gpu_devices()
        except jax.errors.JaxRuntimeError as error:
            first = str(error).strip().partition("\n")[0]
            raise ValueError(f"--topology={self.name}: the compiler refuses it: {first}") from None
        return self._cpu_devices()

    def _tpu_devices(self) -> list[jax.Device]:
        _require("libtpu", self.name, "tpu")
        sides = (*self.shape, 1)[:3]
        more = {"chip_config_name": "megacore"} if self.chip.name in _MEGACORE else {}
        return topologies.get_topology_desc(
            platform="tpu",
            topology_name=self.name,
            chips_per_host_bounds=(min(2, sides[0]), min(2, sides[1]), 1),
            **more,
        ).devices

    def _gpu_devices(self) -> list[jax.Device]:
        _require("jax_plugins.xla_cuda12", self.name, "cuda")
        shape = "x".join(map(str, (1, *self.shape)))
        return topologies.get_topology_desc(
            platform="cuda",
            topology_name=shape,
            topology=shape,
            target_config=self.chip.target,
        ).devices

    def _cpu_devices(self) -> list[jax.Device]:
        if jax.config.jax_num_cpu_devices < self.num_devices:
            # An error where JAX runs already: then what it has must do.
            with contextlib.suppress(RuntimeError):
                jax.config.update("jax_num_cpu_devices", self.num_devices)
        found = jax.devices("cpu")
        if len(found) < self.num_devices:
            raise ValueError(
                f"--topology={self.name}: JAX has started with {len(found)} simulated devices; "
                "compile in a process of its own"
            )
        return found[: self.num_devices]


def _require(module: str, name: str, extra: str) -> None:
    """Raises a ValueError that names the extra where a compiler is not installed."""
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise ValueError(
            f"--topology={name} needs a compiler that is not installed: "
            f'pip install "ssd_jax[{extra}]"'
        )
