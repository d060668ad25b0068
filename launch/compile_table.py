"""Compiles five detectors for TPUs and GPUs that are not there, and writes one table of them.

    python -m launch.compile_table --output runs/compiled

Each row is a run of launch.compile in a folder of its own, one after the other; a row whose folder
has a summary.json is not compiled again, so that the command goes on where it was stopped. All rows
take 4 to 10 minutes each for a TPU and half a minute for GPUs, on two cores. --rows chooses some,
as --rows=h100,v5e:16x16. Where the extras `tpu` and `cuda` are installed apart from each other,
--tpu_python and --cuda_python name their interpreters. table.md has what is finished.
"""

import json
import logging
import pathlib
import subprocess
import sys

from absl import flags

from ssd_jax.compiled import table
from ssd_jax.compiled.rows import DETECTORS, IMAGES_PER_CHIP, NUM_CLASSES, Row, rows
from ssd_jax.replacing import replacing

from . import cli

_OUTPUT = flags.DEFINE_string("output", None, "A folder for the rows and table.md.", required=True)
_ROWS = flags.DEFINE_list("rows", [], "Only rows whose name has one of these in it.")
_TPU_PYTHON = flags.DEFINE_string("tpu_python", sys.executable, "With the extra `tpu`.")
_CUDA_PYTHON = flags.DEFINE_string("cuda_python", sys.executable, "With the extra `cuda`.")

log = logging.getLogger("ssd_jax")


def main() -> int:
    """Compiles what is missing; 1 where a row failed."""
    folder = pathlib.Path(_OUTPUT.value)
    chosen = [
        row for row in rows() if not _ROWS.value or any(word in row.label for word in _ROWS.value)
    ]
    if not chosen:
        names = ", ".join(row.label for row in rows())
        raise ValueError(f"--rows: none of {names} has one of {','.join(_ROWS.value)}")
    failed = 0
    for row in chosen:
        if not (folder / row.name / "summary.json").exists():
            failed += not _compile(row, folder / row.name)
        _write_table(folder)
    print((folder / "table.md").read_text())
    return 1 if failed else 0


def _compile(row: Row, folder: pathlib.Path) -> bool:
    """Runs launch.compile for a row; its log stands beside what it writes."""
    folder.mkdir(parents=True, exist_ok=True)
    python = {"tpu": _TPU_PYTHON.value, "cuda": _CUDA_PYTHON.value}
    command = [
        python[row.topology.chip.platform],
        "-m",
        f"{__package__}.compile",
        f"--config={DETECTORS[row.detector]}",
        f"--config.model.num_classes={NUM_CLASSES}",
        "--config.model.dtype=bfloat16",
        f"--config.train.batch_size={IMAGES_PER_CHIP * row.topology.num_devices}",
        f"--topology={row.topology.name}",
        f"--output={folder}",
    ]
    if row.topology.chip.clock_hz:
        command.append("--scale=1,4,16,64,256,1024")
    log.info("%s", row.label)
    with (folder / "log.txt").open("w") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        log.warning("%s failed; see %s", row.label, folder / "log.txt")
    return not done.returncode


def _write_table(folder: pathlib.Path) -> None:
    lines = []
    for row in rows():
        path = folder / row.name / "summary.json"
        if path.exists():
            summary = json.loads(path.read_text())
            lines.append((row.detector, row.topology.name, *table.row(summary)))
    headings = ("detector", "topology", *table.ROW_HEADINGS)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "table.md") as aside:
        aside.write_text(table.markdown(headings, lines))


if __name__ == "__main__":
    cli.run(main)
