r"""Compiles a training or detection step for hardware that is not there, and says what it costs.

    python -m launch.compile --config configs/ssd.py:300,voc --config.model.num_classes=21 \
      --config.model.dtype=bfloat16 --config.train.batch_size=512 --topology v5e:4x4 --output out

prints, and writes to the folder, whether the step fits into the chip's memory, its operations, the
compiler's estimate of its time by part, and every collective with its bytes and what it carries:
summary.json, collectives.json, report.md, and program.txt with --hlo. Topologies: v5e:4x4,
v6e:2x4, v4:2x2x1, v5p:2x2x1 (needs the extra `tpu`); h100:8, a100:8, h100:16x8 for hosts x GPUs
(the extra `cuda`; no times); cpu:8. No accelerator of this machine is used.

--largest_batch searches, by bisection, for the most images a device that fit. --scale=4,256,1024
says what the step would take on so many chips, by the links; docs/devices.md has the assumptions.
"""

# ruff: noqa: E402
from ssd_jax.compiled import environment

environment.hide_accelerators()

import json
import logging
import pathlib
from typing import Any

import jax
from absl import flags

from ssd_jax import config
from ssd_jax.compiled import collectives, largest_batch, program, scaling, summary, table
from ssd_jax.compiled.topology import FORMS, Topology
from ssd_jax.replacing import replacing

from . import cli

_CONFIG = cli.define_config(required=True)
_TOPOLOGY = flags.DEFINE_string("topology", None, f"One of {FORMS}.", required=True)
_STEP = flags.DEFINE_enum("step", "train", program.STEPS, "Which step.")
_OUTPUT = flags.DEFINE_string("output", None, "A folder for what is written.")
_HLO = flags.DEFINE_bool("hlo", False, "Write the compiled program's text, too.")
_LARGEST_BATCH = flags.DEFINE_bool(
    "largest_batch", False, "Search for the largest batch that fits: 5 to 15 compilations."
)
_SCALE = flags.DEFINE_list("scale", [], "Numbers of chips to expect the step on, as 4,256,1024.")
_STEP_MS = flags.DEFINE_float(
    "step_ms", None, "scale: milliseconds of the computation; by default as the compiler estimates."
)

log = logging.getLogger("ssd_jax")


def main() -> None:
    """Runs the command."""
    # A cached program has no text to read.
    jax.config.update("jax_enable_compilation_cache", False)
    topology = Topology.parse(_TOPOLOGY.value)
    numbers = _numbers(_SCALE.value)
    if _HLO.value and not _OUTPUT.value:
        raise ValueError("--hlo writes a file: give --output, too")
    experiment = config.resolve(_CONFIG.value)
    program.check_classes(experiment)
    devices = topology.devices()
    log.info("Compiling for %s; for a TPU that takes minutes", topology.name)
    files: dict[str, str] = {}
    try:
        figures, pages = _compile(experiment, devices, topology, numbers, files)
    except program.DoesNotFitError as error:
        if not _LARGEST_BATCH.value:
            raise
        figures = summary.heading(experiment, topology, _STEP.value) | {"memory": {"fits": False}}
        pages = [f"{error}\n"]
    if _LARGEST_BATCH.value:
        figures["largest_batch"] = _largest(experiment, devices, topology, figures)
        pages.append(_largest_page(figures["largest_batch"], topology))
    page = "\n".join(pages)
    print(page)
    if _OUTPUT.value:
        folder = pathlib.Path(_OUTPUT.value)
        folder.mkdir(parents=True, exist_ok=True)
        # The summary is the last: a folder that has one is finished.
        for name, text in {**files, "report.md": page, "summary.json": _json(figures)}.items():
            with replacing(folder / name) as aside:
                aside.write_text(text)
        log.info("Written: %s", folder)


def _compile(
    experiment: config.Experiment,
    devices: list[jax.Device],
    topology: Topology,
    numbers: list[int],
    files: dict[str, str],
) -> tuple[dict[str, Any], list[str]]:
    """Returns the figures of the step and the pages of its report; adds to the files to write."""
    compiled = program.compile_step(experiment, devices, _STEP.value)
    text = compiled.program.as_text()
    figures = summary.summarize(compiled, text, experiment, topology, _STEP.value)
    found = collectives.find(text)
    files["collectives.json"] = _json(summary.listed(found))
    if _HLO.value:
        files["program.txt"] = text
    pages = [table.report(figures)]
    if numbers:
        figures["scaling"], page = _scaling(figures, found, topology, numbers)
        pages.append(page)
    return figures, pages


def _scaling(
    figures: dict[str, Any],
    found: list[collectives.Collective],
    topology: Topology,
    numbers: list[int],
) -> tuple[dict[str, Any], str]:
    seconds = figures["step"]["computation_seconds"] if figures["step"] else 0.0
    if _STEP_MS.value is not None:
        seconds = _STEP_MS.value / 1e3
    if not seconds:
        raise ValueError(
            f"--scale: the compiler estimates no times for {topology.name}; give the computation's "
            "as --step_ms"
        )
    known = (seconds, found, topology.chip, topology.num_devices)
    rows = [scaling.scaled(*known, chips) for chips in numbers]
    breaks_at = scaling.breaks_at(*known)
    page = table.scaling_table(rows, figures["images_per_device"], breaks_at)
    values = {"rows": [row._asdict() for row in rows], "breaks_at": breaks_at}
    return values, f"## On more chips\n\n{page}"


def _largest(
    experiment: config.Experiment,
    devices: list[jax.Device],
    topology: Topology,
    figures: dict[str, Any],
) -> dict[str, Any]:
    """Searches for the largest batch; the program that is compiled already is its first trial."""
    if figures["memory"]["fits"] is None:
        raise ValueError(f"--largest_batch: the memory of {topology.name} is no fixed figure")
    first = figures["images_per_device"]

    def fits(images: int) -> bool:
        if images == first:
            return figures["memory"]["fits"]
        size = images * len(devices)
        changed = program.with_batch_size(experiment, _STEP.value, size)
        try:
            compiled = program.compile_step(changed, devices, _STEP.value)
        except program.DoesNotFitError:
            answer = False
        else:
            answer = summary.memory(compiled.program, topology.chip.memory_bytes)["fits"]
        log.info("%d images a device %s", images, "fit" if answer else "do not fit")
        return answer

    found = largest_batch.search(fits, first)
    return {
        "images_per_device": found.images,
        "images": found.images * len(devices),
        "compilations": len(found.tried),
        "tried": found.tried,
    }


def _largest_page(found: dict[str, Any], topology: Topology) -> str:
    return (
        f"## Largest batch\n\n{found['images_per_device']} images a device fit, {found['images']} "
        f"on {topology.name}, to within an eighth; {found['compilations']} compilations.\n"
    )


def _numbers(words: list[str]) -> list[int]:
    try:
        numbers = [int(word) for word in words]
        if any(number < 1 for number in numbers):
            raise ValueError
    except ValueError:
        raise ValueError(
            f"--scale: expected numbers of chips, as in 4,256,1024; got {','.join(words)!r}"
        ) from None
    return numbers


def _json(value: Any) -> str:
    return json.dumps(value, indent=1) + "\n"


if __name__ == "__main__":
    cli.run(main)
