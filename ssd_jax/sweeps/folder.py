"""The folder of a sweep: the workdirs of its trials, how they ended, and what runs them."""

import collections
import fcntl
import json
import os
import pathlib
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ssd_jax import config
from ssd_jax.checkpoints.manager import RECENT
from ssd_jax.replacing import replacing
from ssd_jax.sweeps.plan import Trial
from ssd_jax.train.metrics import LINES, last_step

STATES = ("finished", "running", "stopped", "failed", "waiting")

# Fields that may differ between the run in a workdir and the trial as it is planned now.
_FREE_FIELDS = (
    *("data.data_dir", "data.num_workers", "model.num_classes", "class_names", "category_ids"),
    *("train.steps", "train.log_every", "train.eval_every", "train.checkpoint_every"),
    *("train.keep_recent", "train.keep_best", "train.num_pictures"),
)


class Progress(NamedTuple):
    """How far a trial is."""

    trial: Trial
    state: str  # one of STATES
    step: int  # the last one on disk
    seconds: float  # of running time, as far as it is known
    reason: str  # of a failure

    @property
    def steps(self) -> int:
        """The steps of the whole run."""
        return self.trial.experiment.train.steps


class SweepFolder:
    """`trials/NAME` are ordinary workdirs; `logs/` and `records/` say how their runs ended.

    A process that trains holds a lock on its record for as long as it lives. So a second sweep on
    the folder, or the same one after a kill, leaves a trial alone that is still running.
    """

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root

    def workdir(self, trial: Trial) -> pathlib.Path:
        """Returns where the trial's run writes."""
        return self.root / "trials" / trial.name

    def log(self, trial: Trial) -> pathlib.Path:
        """Returns the file that the trial's run prints to; `prepare` makes its folder."""
        return self.root / "logs" / f"{trial.name}.log"

    def prepare(self) -> None:
        """Makes the folders that runs write to, besides their workdirs."""
        (self.root / "logs").mkdir(parents=True, exist_ok=True)

    def lock(self, trial: Trial) -> int | None:
        """Returns an open file that holds the trial's lock, or None where another process has it.

        The lock lasts until every process that inherited the file has closed it.
        """
        self._records.mkdir(parents=True, exist_ok=True)
        file = os.open(self._lock_path(trial), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return None
        return file

    def note_process(self, trial: Trial, pid: int) -> None:
        """Writes which process works on a trial, and since when."""
        # In place: another file of that name would not be the locked one.
        self._lock_path(trial).write_text(json.dumps({"pid": pid, "began": time.time()}))

    def process(self, trial: Trial) -> int | None:
        """Returns the process that works on a trial, or None."""
        return _read(self._lock_path(trial)).get("pid") if self.is_locked(trial) else None

    def is_locked(self, trial: Trial) -> bool:
        """Returns whether a process on this machine works on a trial."""
        if not self._lock_path(trial).exists():
            return False
        file = self.lock(trial)
        if file is not None:
            os.close(file)
        return file is None

    def record(self, trial: Trial) -> dict[str, Any]:
        """Returns the record of a trial: "failed", "seconds", "job"; {} where there is none."""
        return _read(self._records / f"{trial.name}.json")

    def update_record(self, trial: Trial, **values: Any) -> None:
        """Adds values to the record of a trial."""
        _write(self._records / f"{trial.name}.json", {**self.record(trial), **values})

    def progress(self, trial: Trial, *, elsewhere: bool = False) -> Progress:
        """Returns how far a trial is, from what its run has written.

        With `elsewhere` a cluster says that the trial runs.
        """
        workdir, record = self.workdir(trial), self.record(trial)
        saved = (path.name for path in (workdir / RECENT).glob("[0-9]*") if path.name.isdigit())
        step = max(last_step(workdir / LINES), *map(int, saved), 0)
        evaluated = last_step(workdir / LINES, "evaluation")
        seconds = record.get("seconds", 0.0)
        metrics = workdir / "evaluation" / "metrics.json"
        state, reason = "waiting", ""
        if evaluated >= trial.experiment.train.steps and metrics.exists():
            state = "finished"
        elif elsewhere or self.is_locked(trial):
            state = "running"
            now = time.time()
            seconds += now - _read(self._lock_path(trial)).get("began", now)
        elif record.get("failed"):
            state, reason = "failed", record["failed"]
        elif (workdir / config.FILE).exists():
            state = "stopped"
        return Progress(trial, state, step, seconds, reason)

    def check(self, trials: Iterable[Trial]) -> None:
        """Raises a ValueError where a trial's workdir holds the run of another config."""
        for trial in trials:
            path = self.workdir(trial) / config.FILE
            if not path.exists():
                continue
            changes = {
                name: pair
                for name, pair in config.differences(config.load(path), trial.experiment).items()
                if name not in _FREE_FIELDS
            }
            if changes:
                listed = "; ".join(f"config.{k}: {a!r} -> {b!r}" for k, (a, b) in changes.items())
                raise ValueError(
                    f"{self.workdir(trial)} was begun with another config ({listed}); take another "
                    "--workdir, or undo the change"
                )

    def arguments(self) -> list[str]:
        """Returns the command line that the sweep was last run with; [] for none."""
        return _read(self.root / "sweep.json").get("arguments", [])

    def save_arguments(self, arguments: Sequence[str]) -> None:
        """Keeps the command line, so that --status and --report need nothing but the folder."""
        _write(self.root / "sweep.json", {"arguments": list(arguments)})

    @property
    def _records(self) -> pathlib.Path:
        return self.root / "records"

    def _lock_path(self, trial: Trial) -> pathlib.Path:
        return self._records / f"{trial.name}.lock"


def counted(progress: Sequence[Progress]) -> str:
    """Returns the number of trials in each state, to read: "3 finished, 1 failed"."""
    counts = collections.Counter(one.state for one in progress)
    return ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])


def seconds_left(progress: Sequence[Progress], parallel: int) -> float | None:
    """Returns the time that the rest should take; None before any step is timed.

    So many trials run in parallel; failed ones do not run again.
    """
    timed = [one for one in progress if one.seconds and one.step]
    if not timed:
        return None
    rate = sum(one.seconds for one in timed) / sum(one.step for one in timed)
    left = [
        (one.steps - one.step) * rate
        for one in progress
        if one.state in ("running", "stopped", "waiting")
    ]
    # The last ones run alone, so that the rest takes no less than the longest of them.
    return max(sum(left) / parallel, max(left)) if left else 0.0


def _read(path: pathlib.Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _write(path: pathlib.Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as aside:
        aside.write_text(json.dumps(values, indent=2) + "\n")
