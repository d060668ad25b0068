"""Runs the trials of a sweep as SLURM jobs, through submitit."""

import contextlib
import logging
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ssd_jax.sweeps.folder import SweepFolder
from ssd_jax.sweeps.local import STOPPED, why_failed
from ssd_jax.sweeps.plan import Trial

log = logging.getLogger("ssd_jax")


class TrialJob:
    """The work of a job: a trial's command. A preempted job saves and is queued again."""

    def __init__(self, command: Sequence[str], output: pathlib.Path) -> None:
        self._command = list(command)
        self._output = output
        self._process: subprocess.Popen | None = None

    def __call__(self) -> str:
        """Runs the trial; returns why it failed, "" where it did not.

        Raises:
            SystemExit: where a signal stopped the trial. SLURM sends it to all that a job runs,
                and queues the job again; a result would say that the job is over.
        """
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        status = self._process.wait()
        if status == STOPPED:
            sys.exit(STOPPED)
        return why_failed(status, self._output)

    def checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        """Lets the trial save, and returns the job that goes on; submitit calls it."""
        import submitit

        if self._process is not None:
            self._process.terminate()
            # Not `wait`: this runs in a signal's handler, and the call it interrupts is that same
            # `wait`, which holds the lock of its process.
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        return submitit.helpers.DelayedSubmission(TrialJob(self._command, self._output))


def parse_options(options: Iterable[str], *, parallel: int) -> dict[str, Any]:
    """Returns submitit's parameters from NAME=VALUE, whole numbers as int.

    Raises:
        ValueError: for an option of another form.
    """
    parsed: dict[str, Any] = {"slurm_array_parallelism": parallel}
    for option in options:
        name, equals, value = option.partition("=")
        if not (name and equals):
            raise ValueError(f"--slurm: expected NAME=VALUE, got {option!r}")
        parsed[name] = int(value) if value.isdigit() else value
    return parsed


def executor(folder: pathlib.Path, options: dict[str, Any]) -> Any:
    """Returns submitit's executor for this cluster.

    Raises:
        ValueError: where submitit or SLURM is absent, or a parameter is unknown.
    """
    try:
        import submitit
    except ImportError:
        raise ValueError(
            "--executor=slurm needs submitit, which is not installed: pip install 'ssd_jax[slurm]'"
        ) from None
    # Without accounting it warns twice at every look at the queue.
    logging.getLogger("submitit").setLevel(logging.ERROR)
    try:
        made = submitit.AutoExecutor(folder=folder, cluster="slurm")
        made.update_parameters(**options)
    except (RuntimeError, NameError, TypeError) as error:
        raise ValueError(f"--executor=slurm: {error}") from None
    return made


def run(
    trials: Sequence[Trial],
    folder: SweepFolder,
    command: Callable[[Trial], Sequence[str]],
    executor: Any,
    *,
    ended: Callable[[Trial], None] = lambda trial: None,
    poll_seconds: float = 10.0,
) -> None:
    """Submits trials as one array and waits for them; a trial whose job lives is not submitted.

    Ctrl-C ends the waiting, not the jobs.

    Args:
        trials: the trials to run.
        folder: the sweep's folder, which remembers the number of each trial's job.
        command: returns the command that runs a trial in the current directory.
        executor: submitit's executor.
        ended: called when a job is over.
        poll_seconds: the time between looks at the queue.
    """
    folder.prepare()
    busy = working(folder, trials)
    new = [trial for trial in trials if trial.name not in busy]
    with executor.batch() if new else contextlib.nullcontext():
        jobs = {
            trial.name: executor.submit(TrialJob(command(trial), folder.log(trial)))
            for trial in new
        }
    for trial in new:
        folder.update_record(trial, failed="", job=str(jobs[trial.name].job_id))
    log.info("%d jobs submitted, %d were there before", len(new), len(busy))
    waiting = list(trials)
    try:
        while waiting:
            still = working(folder, waiting)
            for trial in [one for one in waiting if one.name not in still]:
                waiting.remove(trial)
                _note_end(trial, folder, jobs.get(trial.name))
                ended(trial)
            if waiting:
                time.sleep(poll_seconds)
    except KeyboardInterrupt:
        log.warning(
            "No longer waiting. %d jobs go on; scancel ends them, and the same command waits again",
            len(waiting),
        )


def _note_end(trial: Trial, folder: SweepFolder, job: Any) -> None:
    reason = ""
    if job is not None and folder.progress(trial).state != "finished":
        error = job.exception()
        reason = job.result() if error is None else str(error).strip().splitlines()[-1]
    folder.update_record(trial, job="", failed=reason)


def working(folder: SweepFolder, trials: Iterable[Trial]) -> set[str]:
    """Returns the names of the trials that have a job in the queue or running."""
    numbers = {one.name: job for one in trials if (job := folder.record(one).get("job"))}
    if not numbers:
        return set()
    try:
        import submitit
    except ImportError:
        return set()

    def is_done(number: str) -> bool:
        return submitit.SlurmJob(folder=folder.root / "slurm", job_id=number).done()

    return {name for name, number in numbers.items() if not is_done(number)}
