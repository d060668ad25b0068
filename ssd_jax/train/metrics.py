"""Where the figures of a run go: metrics.jsonl, TensorBoard, pictures, and one line to read."""

import json
import logging
import math
import os
import pathlib
import types
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image

from ssd_jax.replacing import replacing
from ssd_jax.train import events

log = logging.getLogger(__name__)

# Below a workdir.
LINES = "metrics.jsonl"
TENSORBOARD = "tensorboard"

# The groups of figures. An evaluation's line is written when all else of it is on the disk.
TRAIN, EVALUATION = "train", "evaluation"


class MetricsWriter:
    """Appends to `metrics.jsonl`, `tensorboard/` and `pictures/` below a workdir.

    A context manager. A writer that is not `enabled` (every process but the first) writes nothing.
    """

    def __init__(self, workdir: pathlib.Path, *, first_step: int, enabled: bool = True) -> None:
        """Opens the files, and takes back what a run that resumes at `first_step` writes again.

        That is what lies beyond this step, and what is left of an evaluation of this step that
        did not come to its line.

        Raises:
            OSError: where they cannot be written.
        """
        self._enabled = enabled
        if not enabled:
            return
        self._pictures = workdir / "pictures"
        path = workdir / LINES
        _take_back(path, first_step)
        evaluated = last_step(path, EVALUATION) == first_step

        def keep(step: int, tag: str) -> bool:
            whole = evaluated or tag.startswith(f"{TRAIN}/")
            return step < first_step or (step == first_step and whole)

        events.take_back(workdir / TENSORBOARD, keep)
        self._lines = path.open("a")
        self._events = events.EventWriter(workdir / TENSORBOARD, first_step=first_step + 1)

    def scalars(self, step: int, group: str, values: Mapping[str, float | None]) -> None:
        """Writes one line of figures; a value that is missing or not finite becomes null."""
        if not self._enabled:
            return
        finite = {k: v if v is not None and math.isfinite(v) else None for k, v in values.items()}
        for name, value in finite.items():
            if value is not None:
                self._events.scalar(step, f"{group}/{name}", value)
        if group == EVALUATION:
            self._events.flush()
        self._lines.write(json.dumps({"step": step, "group": group, **finite}) + "\n")
        self._lines.flush()

    def picture(self, step: int, name: str, picture: Image.Image) -> pathlib.Path | None:
        """Writes a picture as `pictures/NAME_STEP.png` and to TensorBoard; returns its path."""
        if not self._enabled:
            return None
        self._pictures.mkdir(exist_ok=True)
        path = self._pictures / f"{name}_{step:07d}.png"
        picture.save(path)
        self._events.picture(step, name, picture)
        return path

    def flush(self) -> None:
        """Returns when everything is on the disk; called before a checkpoint is written."""
        if self._enabled:
            self._events.flush()
            os.fsync(self._lines.fileno())

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        if not self._enabled:
            return
        for file in (self._lines, self._events):
            try:
                file.close()
            except OSError:  # a full disk, which has been told already
                if error is None:
                    raise


def last_step(path: pathlib.Path, group: str = "") -> int:
    """Returns the last step in a run's metrics.jsonl, of one group or of any; 0 where none is."""
    rows = (row for _, row in _rows(path) if row is not None)
    return max((row["step"] for row in rows if group in ("", row["group"])), default=0)


def read_line(path: pathlib.Path, step: int, group: str) -> dict[str, Any] | None:
    """Returns the line of a step and a group in a run's metrics.jsonl; None where there is none."""
    found = [x for _, x in _rows(path) if x and (x["step"], x["group"]) == (step, group)]
    return found[-1] if found else None


def _rows(path: pathlib.Path) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Yields every line of a metrics.jsonl, and what it says: None where it cannot be read."""
    if not path.exists():
        return
    text = path.read_bytes().decode(errors="replace")
    for line in text.splitlines(keepends=True):
        try:
            row = json.loads(line)
            whole = line.endswith("\n") and isinstance(row["step"], int) and row["group"]
        except (ValueError, KeyError, TypeError):
            whole = False
        yield line, row if whole else None


def _take_back(path: pathlib.Path, step: int) -> None:
    """Drops the lines beyond a step, and those that a full disk or a crash cut."""
    rows = list(_rows(path))
    if unreadable := [(i, line) for i, (line, row) in enumerate(rows, 1) if row is None]:
        listed = "; ".join(f"line {i}: {line.strip()[:60]!r}" for i, line in unreadable[:3])
        log.warning(
            "%s: %d lines are not whole, and are dropped (%s)", path, len(unreadable), listed
        )
    kept = [line for line, row in rows if row is not None and row["step"] <= step]
    if len(kept) < len(rows):
        with replacing(path) as aside:
            aside.write_text("".join(kept))


def duration(seconds: float) -> str:
    """Returns a time span to read: '42s', '12m 05s', '3h 20m', '2d 04h'."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m {seconds % 60:02d}s"
    if seconds < 86400:
        return f"{seconds // 3600}h {seconds % 3600 // 60:02d}m"
    return f"{seconds // 86400}d {seconds % 86400 // 3600:02d}h"
