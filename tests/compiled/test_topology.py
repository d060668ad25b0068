"""The names of topologies, and what is said where one cannot be had."""

import importlib.util

import jax
import pytest

from ssd_jax.compiled import topology
from ssd_jax.compiled.chips import CHIPS
from ssd_jax.compiled.topology import Topology


@pytest.mark.parametrize(
    ("name", "shape", "devices", "hosts"),
    [
        ("v5e:4x4", (4, 4), 16, 1),
        ("v4:2x2x1", (2, 2, 1), 4, 1),
        ("h100:8", (1, 8), 8, 1),
        ("h100:16x8", (16, 8), 128, 16),
        ("cpu:8", (8,), 8, 1),
    ],
)
def test_names(name, shape, devices, hosts):
    found = Topology.parse(name)
    assert found.shape == shape
    assert (found.num_devices, found.num_hosts) == (devices, hosts)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("v9:2x2", "expected a chip of v4, v5e, v5p, v6e, a100, h100, cpu"),
        ("v5e", "expected CHIP:SIZES"),
        ("v5e:4x", "expected CHIP:SIZES"),
        ("v5e:0x4", "expected CHIP:SIZES"),
        ("v5e:2x2x2", "v5e has 2 sizes"),
        ("v5p:2x2", "v5p has 3 sizes"),
        ("h100:2x2x2", "h100 has 2 sizes"),
    ],
)
def test_other_names_are_refused(name, said):
    with pytest.raises(ValueError, match=said):
        Topology.parse(name)


@pytest.mark.parametrize(
    ("name", "extra"), [("v5e:2x2", "tpu"), ("v5p:2x2x1", "tpu"), ("a100:8", "cuda")]
)
def test_a_missing_compiler_names_its_extra(monkeypatch, name, extra):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=rf"pip install \"ssd_jax\[{extra}\]\""):
        Topology.parse(name).devices()


def test_simulated_devices():
    there = jax.devices("cpu")
    assert Topology.parse("cpu:4").devices() == there[:4]
    with pytest.raises(ValueError, match="started with 8 simulated devices"):
        Topology.parse("cpu:9").devices()


def test_the_clock_is_the_peak_over_the_operations_of_a_cycle():
    clocks = {name: round(chip.clock_hz / 1e9, 2) for name, chip in CHIPS.items() if chip.clock_hz}
    assert clocks == {"v4": 1.05, "v5e": 1.5, "v5p": 1.75, "v6e": 1.75}


def requires(module, extra):
    try:
        is_there = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        is_there = False
    return pytest.mark.skipif(not is_there, reason=f"needs the extra: ssd_jax[{extra}]")


@requires("libtpu", "tpu")
@pytest.mark.parametrize(("name", "cores"), [("v5e:2x2", 1), ("v4:2x2x1", 2), ("v5e:1x1", 1)])
def test_a_device_is_a_chip_of_a_tpu(name, cores):
    found = Topology.parse(name)
    devices = found.devices()
    assert len(devices) == found.num_devices
    assert {device.num_cores for device in devices} == {cores}


@requires("libtpu", "tpu")
def test_a_shape_that_the_compiler_refuses():
    with pytest.raises(ValueError, match="--topology=v5e:3x5: the compiler refuses it"):
        topology.Topology.parse("v5e:3x5").devices()


@requires("jax_plugins.xla_cuda12", "cuda")
def test_gpus_of_several_hosts():
    devices = Topology.parse("h100:2x8").devices()
    assert len(devices) == 16
    assert len({device.process_index for device in devices}) == 2
