"""Jobs of a cluster, with a stand-in for submitit."""

import contextlib
import importlib.util
import os
import signal
import sys
import threading
import time
import types

import pytest
import sweep_runs

from ssd_jax import sweeps
from ssd_jax.sweeps import slurm
from ssd_jax.sweeps.folder import SweepFolder


class Job:
    """A job that runs when somebody first asks whether it is done."""

    jobs: dict = {}  # noqa: RUF012

    def __init__(self, folder=None, job_id=None):
        self.job_id = job_id
        self._is = Job.jobs.get(job_id, {"result": "", "error": None, "polls": 0})

    def done(self):
        self._is["polls"] -= 1
        if self._is["polls"] == 0:
            self._is["work"](self._is)
        return self._is["polls"] <= 0

    def exception(self):
        return self._is["error"]

    def result(self):
        return self._is["result"]


class Executor:
    def __init__(self):
        self.submitted = []

    def batch(self):
        return contextlib.nullcontext()

    def submit(self, function):
        def work(job):
            try:
                job["result"] = function()
            except OSError as error:
                job["error"] = error

        number = str(len(Job.jobs) + 7)
        Job.jobs[number] = {"work": work, "polls": 2, "result": None, "error": None}
        self.submitted.append(function)
        return Job(job_id=number)


@pytest.fixture
def submitit(monkeypatch):
    module = types.ModuleType("submitit")
    module.SlurmJob = Job
    module.helpers = types.SimpleNamespace(DelayedSubmission=lambda job: ("again", job))
    monkeypatch.setitem(sys.modules, "submitit", module)
    monkeypatch.setattr(Job, "jobs", {})
    return module


@pytest.fixture
def folder(tmp_path):
    return SweepFolder(tmp_path)


@pytest.fixture
def made():
    return sweep_runs.plan(*sweeps.seeds(3))


def command(folder):
    def of(trial):
        if trial.seed == 1:
            return [sys.executable, "-c", "print('error: no data'); exit(1)"]
        if trial.seed == 2:
            return ["/no/such/program"]
        sweep_runs.write(folder, trial, 0.5)
        return [sys.executable, "-c", "print('fine')"]

    return of


def test_trials_become_jobs_and_failures_have_reasons(folder, made, submitit):
    ended, executor = [], Executor()
    slurm.run(made, folder, command(folder), executor, ended=ended.append, poll_seconds=0.01)
    found = sweep_runs.progress(folder, made)
    assert [one.state for one in found] == ["finished", "failed", "failed"]
    assert found[1].reason == "exit status 1: error: no data"
    assert "/no/such/program" in found[2].reason
    assert sorted(trial.seed for trial in ended) == [0, 1, 2]
    assert len(executor.submitted) == 3
    assert folder.log(made[0]).read_text() == "fine\n"


def test_a_job_that_lives_is_not_submitted_again(folder, made, submitit):
    executor = Executor()
    job = executor.submit(lambda: "")
    folder.update_record(made[0], job=job.job_id)
    Job.jobs[job.job_id]["polls"] = 4
    assert slurm.working(folder, made) == {made[0].name}
    slurm.run(made[:1], folder, command(folder), executor, poll_seconds=0.01)
    assert len(executor.submitted) == 1
    assert slurm.working(folder, made) == set()


SAVES = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
print("begins", flush=True)
time.sleep(60)
"""


def test_a_preempted_job_saves_and_is_queued_again(tmp_path, submitit):
    output = tmp_path / "log"
    job = slurm.TrialJob([sys.executable, "-c", SAVES], output)
    found = []
    # As submitit does, from a signal's handler, while the job waits for its process.
    before = signal.signal(signal.SIGUSR2, lambda *_: found.append(job.checkpoint()))

    def preempt():
        while not (output.exists() and output.read_text()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGUSR2)

    threading.Thread(target=preempt).start()
    try:
        with pytest.raises(SystemExit):  # neither failed nor over
            job()
    finally:
        signal.signal(signal.SIGUSR2, before)
    [(again, new)] = found
    assert again == "again"
    assert vars(new) == {**vars(job), "_process": None}


def test_a_job_that_slurm_stops_and_queues_again_is_not_over(tmp_path, submitit):
    output = tmp_path / "log"
    job = slurm.TrialJob([sys.executable, "-c", SAVES], output)

    def preempt():  # as SLURM does: a signal to all processes of the job, which submitit ignores
        while not (output.exists() and output.read_text()):
            time.sleep(0.01)
        job._process.terminate()

    threading.Thread(target=preempt).start()
    with pytest.raises(SystemExit) as stopped:
        job()
    assert stopped.value.code == 3


def test_options():
    options = slurm.parse_options(["slurm_partition=gpu", "gpus_per_node=2"], parallel=4)
    assert options == {
        "slurm_array_parallelism": 4,
        "slurm_partition": "gpu",
        "gpus_per_node": 2,
    }
    with pytest.raises(ValueError, match="NAME=VALUE, got 'gpu'"):
        slurm.parse_options(["gpu"], parallel=1)


@pytest.mark.skipif(importlib.util.find_spec("submitit") is not None, reason="submitit is there")
def test_without_submitit_the_extra_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"pip install 'ssd_jax\[slurm\]'"):
        slurm.executor(tmp_path, {})
