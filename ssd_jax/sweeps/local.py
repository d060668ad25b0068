"""Runs the trials of a sweep on this machine, each as a process of its own."""

import collections
import logging
import os
import pathlib
import signal
import subprocess
import threading
import time
import types
from collections.abc import Callable, Sequence
from typing import Any

from ssd_jax.sweeps.folder import SweepFolder
from ssd_jax.sweeps.plan import Trial

log = logging.getLogger("ssd_jax")

# The exit status of launch.train where it was stopped and has saved.
STOPPED = 3

_POLL_SECONDS = 0.2
_REASON_LENGTH = 600


class LocalTrials:
    """A queue of trials and the processes that work on it.

    SIGINT and SIGTERM are passed on: the trials save and end, and `run` returns. A second one
    stops them at once.
    """

    def __init__(
        self,
        folder: SweepFolder,
        command: Callable[[Trial], Sequence[str]],
        *,
        parallel: int = 1,
        gpus: Sequence[str] = (),
        ended: Callable[[Trial], None] = lambda trial: None,
    ) -> None:
        """Prepares to run.

        Args:
            folder: the sweep's folder.
            command: returns the command that runs a trial in the current directory.
            parallel: how many trials run at a time.
            gpus: names as in CUDA_VISIBLE_DEVICES; each trial sees one, the least used. Without
                names every trial sees all.
            ended: called when a trial's process is over.
        """
        self._folder, self._command, self._ended = folder, command, ended
        self._parallel, self._gpus = parallel, gpus
        self._queue: collections.deque[Trial] = collections.deque()
        self._own: dict[str, tuple[Trial, subprocess.Popen, float]] = {}
        self._gpu_of: dict[str, str] = {}  # of the trials in _own
        self._others: dict[str, Trial] = {}  # worked on by a process of an earlier sweep
        self._signals = self._passed_on = 0

    def run(self, trials: Sequence[Trial]) -> bool:
        """Runs trials; returns False where it was stopped by a signal."""
        self._folder.prepare()
        self._queue.extend(trials)
        previous = self._catch_signals()
        try:
            while self._own or self._others or (self._queue and not self._signals):
                while self._may_start():
                    self._start(self._queue.popleft())
                if self._passed_on < self._signals:
                    self._pass_on()
                self._collect()
                time.sleep(_POLL_SECONDS)
        except BaseException:
            for _, process, _ in self._own.values():
                process.terminate()
            raise
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        return not self._signals

    def _may_start(self) -> bool:
        busy = len(self._own) + len(self._others)
        return bool(self._queue) and busy < self._parallel and not self._signals

    def _start(self, trial: Trial) -> None:
        lock = self._folder.lock(trial)
        if lock is None:
            log.info("%s is still run by an earlier process; waiting for it", trial.name)
            self._others[trial.name] = trial
            return
        self._folder.update_record(trial, failed="")
        began = time.monotonic()
        with self._folder.log(trial).open("ab") as output:
            # In a session of its own, so that a terminal's Ctrl-C reaches it through us alone: a
            # second signal would stop it without saving.
            process = subprocess.Popen(
                self._command(trial),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **self._environment(trial)},
                pass_fds=(lock,),
            )
        self._folder.note_process(trial, process.pid)
        os.close(lock)
        self._own[trial.name] = trial, process, began
        log.info("%s begins", trial.name)

    def _environment(self, trial: Trial) -> dict[str, str]:
        """Returns the variable that gives a trial its GPU: the one that the fewest others use."""
        if not self._gpus:
            return {}
        used = list(self._gpu_of.values())
        self._gpu_of[trial.name] = min(self._gpus, key=used.count)
        return {"CUDA_VISIBLE_DEVICES": self._gpu_of[trial.name]}

    def _collect(self) -> None:
        for name, (trial, process, began) in list(self._own.items()):
            status = process.poll()
            if status is None:
                continue
            del self._own[name]
            self._gpu_of.pop(name, None)
            seconds = self._folder.record(trial).get("seconds", 0.0) + time.monotonic() - began
            stopped = status == STOPPED or (self._signals and status < 0)
            failed = "" if stopped else why_failed(status, self._folder.log(trial))
            if status == 0 and self._folder.progress(trial).state != "finished":
                failed = "the run ended without an evaluation of its last step"
            self._folder.update_record(trial, seconds=round(seconds, 3), failed=failed)
            self._ended(trial)
        for name, trial in list(self._others.items()):
            if not self._folder.is_locked(trial):
                del self._others[name]
                if self._folder.progress(trial).state != "finished":
                    self._queue.appendleft(trial)
                self._ended(trial)

    def _catch_signals(self) -> dict[int, Any]:
        if threading.current_thread() is not threading.main_thread():
            return {}
        return {n: signal.signal(n, self._receive) for n in (signal.SIGINT, signal.SIGTERM)}

    def _receive(self, number: int, frame: types.FrameType | None) -> None:
        self._signals += 1

    def _pass_on(self) -> None:
        self._passed_on = self._signals
        log.warning("Stopping: the trials that run save first; the same command goes on")
        for _, process, _ in self._own.values():
            process.terminate()
        for trial in self._others.values():
            if (pid := self._folder.process(trial)) is not None:
                os.kill(pid, signal.SIGTERM)


def why_failed(status: int, output: pathlib.Path) -> str:
    """Returns why a process failed: its error or its last line; "" for status 0."""
    if status == 0:
        return ""
    text = output.read_text(errors="replace") if output.exists() else ""
    lines = [line.strip() for line in text.splitlines()[-50:] if line.strip()]
    errors = [i for i, line in enumerate(lines) if line.startswith("error:")]
    reason = " ".join(lines[errors[-1] :] if errors else lines[-1:])[:_REASON_LENGTH]
    if status < 0:
        name = signal.Signals(-status).name
        memory = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        return f"killed by {name}{memory}; last line: {reason or 'none'}"
    return f"exit status {status}: {reason or 'nothing was printed'}"
