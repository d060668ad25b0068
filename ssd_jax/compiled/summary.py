"""What a compiled step says about itself, as values that JSON can hold."""

import collections
import importlib.metadata
from typing import Any

import jax

from ssd_jax import config
from ssd_jax.compiled import collectives, loops, parts, program, scaling
from ssd_jax.compiled.collectives import Collective
from ssd_jax.compiled.hlo import Program
from ssd_jax.compiled.topology import Topology

# The packages that hold the compilers.
_COMPILERS = {"tpu": "libtpu", "cuda": "jax-cuda12-plugin", "cpu": "jaxlib"}

BATCH_NORM = "BatchNorm statistics"
GRADIENTS = "gradients"
SCALARS = "scalars"

_GRADIENT_FILE = "ssd_jax/train/gradient.py"


def carries(one: Collective) -> str:
    """Returns what a collective carries: gradients, BatchNorm statistics, scalars, or its part.

    Compilers join collectives, and name them after one or not at all: most of the bytes decide.
    """
    if not one.in_loop and all(not array.type.shape for array in one.carried):
        return SCALARS
    if one.source.startswith(_GRADIENT_FILE):
        return GRADIENTS
    votes: collections.Counter[str] = collections.Counter()
    for array in one.carried:
        if "/bn/" in array.op_name:
            kind = BATCH_NORM
        elif "transpose(" in array.op_name or array.source.startswith(_GRADIENT_FILE):
            kind = GRADIENTS
        else:
            kind = parts.name_of(array.op_name, (array.source, one.source))
        votes[kind] += array.type.bytes
    return votes.most_common(1)[0][0] if votes else parts.OTHER


def summarize(
    compiled: program.Compiled,
    text: str,
    experiment: config.Experiment,
    topology: Topology,
    step: str,
) -> dict[str, Any]:
    """Returns the figures of a compiled step.

    Args:
        compiled: the step.
        text: its HLO, `compiled.program.as_text()`.
        experiment: what it was compiled from.
        topology: what it was compiled for.
        step: "train" or "detect".
    """
    chip, devices = topology.chip, topology.num_devices
    images = program.batch_size(experiment, step)
    parsed = Program.parse(text)
    found = collectives.of_program(parsed)
    costs = compiled.program.cost_analysis() or {}
    summary = {
        **heading(experiment, topology, step),
        "seconds": {"lowering": compiled.lowering, "compiling": compiled.compiling},
        "memory": memory(compiled.program, chip.memory_bytes),
        "flops": costs.get("flops"),
        "bytes_accessed": costs.get("bytes accessed"),
        "loops": [loop._asdict() for loop in loops.find(parsed)],
        "collectives": _totals(found),
        "step": None,
    }
    if chip.clock_hz:
        cycles = parts.by_part(parsed)
        seconds = cycles.total / chip.clock_hz
        waiting = scaling.waiting(found, chip, devices, devices)
        rate = images / devices / (seconds + waiting)
        flops = costs.get("flops") or 0.0
        summary["step"] = {
            "cycles": cycles.total,
            "clock_hz": chip.clock_hz,
            "computation_seconds": seconds,
            "collective_seconds": waiting,
            "images_per_second_per_chip": rate,
            "share_of_peak": flops / (seconds + waiting) / chip.peak_flops,
            "parts": [part._asdict() for part in cycles.parts],
            "without_estimate": cycles.without_estimate,
        }
    return summary


def heading(experiment: config.Experiment, topology: Topology, step: str) -> dict[str, Any]:
    """Returns what was compiled, for what, and by which compiler."""
    package = _COMPILERS[topology.chip.platform]
    return {
        "config": experiment.name,
        "step_kind": step,
        "topology": topology.name,
        "devices": topology.num_devices,
        "images": program.batch_size(experiment, step),
        "images_per_device": program.batch_size(experiment, step) // topology.num_devices,
        "dtype": experiment.model.dtype,
        "jax": jax.__version__,
        "compiler": f"{package} {importlib.metadata.version(package)}",
    }


def listed(found: list[Collective]) -> list[dict[str, Any]]:
    """Returns every collective of a program, for JSON."""
    return [
        {
            "name": one.name,
            "operation": one.operation,
            "asynchronous": one.is_async,
            "carries": carries(one),
            "dtype": one.dtype,
            "shape": one.shape,
            "bytes": one.bytes,
            "group_size": one.group_size,
            "in_loop": one.in_loop,
            "times": one.times,
            "op_name": one.op_name,
            "source": one.source,
            "arrays": [
                {"type": str(array.type), "op_name": array.op_name, "source": array.source}
                for array in one.carried
            ],
        }
        for one in found
    ]


def memory(compiled: jax.stages.Compiled, capacity: int) -> dict[str, Any]:
    """Returns the bytes of one device."""
    stats = compiled.memory_analysis()
    total = (
        stats.argument_size_in_bytes
        + stats.output_size_in_bytes
        - stats.alias_size_in_bytes
        + stats.temp_size_in_bytes
        + stats.generated_code_size_in_bytes
    )
    return {
        "arguments": stats.argument_size_in_bytes,
        "outputs": stats.output_size_in_bytes,
        "aliased": stats.alias_size_in_bytes,
        "temporaries": stats.temp_size_in_bytes,
        "code": stats.generated_code_size_in_bytes,
        "total": total,
        "capacity": capacity or None,
        "fits": total <= capacity if capacity else None,
    }


def _totals(found: list[Collective]) -> list[dict[str, Any]]:
    """Returns the collectives by what they are and carry: how many, and their bytes together."""
    groups: dict[tuple, list[Collective]] = collections.defaultdict(list)
    for one in found:
        groups[one.operation, carries(one), one.dtype, one.group_size, one.in_loop].append(one)
    return [
        {
            "operation": operation,
            "carries": what,
            "dtype": dtype,
            "group_size": group_size,
            "in_loop": in_loop,
            "count": len(members),
            "asynchronous": sum(one.is_async for one in members),
            "bytes": sum(one.bytes for one in members),
        }
        for (operation, what, dtype, group_size, in_loop), members in sorted(
            groups.items(), key=lambda item: -sum(one.bytes for one in item[1])
        )
    ]
