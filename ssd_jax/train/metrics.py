"""Where the figures of a run go: metrics.jsonl, TensorBoard, pictures, and one line to read."""

import contextlib
import json
import math
import pathlib
import types
from collections.abc import Mapping

import numpy as np
import tensorboardX
from PIL import Image

# Below a workdir.
LINES = "metrics.jsonl"


class MetricsWriter:
    """Appends to `metrics.jsonl`, `tensorboard/` and `pictures/` below a workdir.

    A context manager. A writer that is not `enabled` (every process but the first) writes nothing.
    """

    def __init__(self, workdir: pathlib.Path, *, first_step: int, enabled: bool = True) -> None:
        """Opens the files; what an earlier, stopped run wrote past `first_step` is taken back."""
        self._enabled = enabled
        if not enabled:
            return
        self._pictures = workdir / "pictures"
        lines = workdir / LINES
        if lines.exists():
            written = lines.read_text().splitlines(keepends=True)
            lines.write_text("".join(x for x in written if json.loads(x)["step"] <= first_step))
        self._lines = lines.open("a")
        self._tensorboard = tensorboardX.SummaryWriter(
            str(workdir / "tensorboard"), purge_step=first_step + 1
        )

    def scalars(self, step: int, group: str, values: Mapping[str, float | None]) -> None:
        """Writes one line of figures; a value that is missing or not finite becomes null."""
        if not self._enabled:
            return
        finite = {k: v if v is not None and math.isfinite(v) else None for k, v in values.items()}
        self._lines.write(json.dumps({"step": step, "group": group, **finite}) + "\n")
        self._lines.flush()
        for name, value in finite.items():
            if value is not None:
                self._tensorboard.add_scalar(f"{group}/{name}", value, step)

    def picture(self, step: int, name: str, picture: Image.Image) -> pathlib.Path | None:
        """Writes a picture as `pictures/NAME_STEP.png` and to TensorBoard; returns its path."""
        if not self._enabled:
            return None
        self._pictures.mkdir(exist_ok=True)
        path = self._pictures / f"{name}_{step:07d}.png"
        picture.save(path)
        self._tensorboard.add_image(name, np.asarray(picture), step, dataformats="HWC")
        return path

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        if self._enabled:
            self._lines.close()
            self._tensorboard.close()


def last_step(path: pathlib.Path, group: str = "") -> int:
    """Returns the last step in a run's metrics.jsonl, of one group or of any; 0 where none is."""
    steps = [0]
    if path.exists():
        for line in path.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # a line that is being written
                row = json.loads(line)
                if group in ("", row["group"]):
                    steps.append(row["step"])
    return max(steps)


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
