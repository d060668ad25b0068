"""The queue of trials, with a stand-in for launch.train that takes no time."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest
import sweep_runs

from ssd_jax import config, sweeps
from ssd_jax.sweeps.folder import SweepFolder
from ssd_jax.sweeps.local import LocalTrials, why_failed

# Does as launch.train: a step at a time, resumed where it stopped, exit status 3 for SIGTERM.
STAND_IN = """
import json, os, pathlib, signal, sys, time
workdir, last, mode = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
lines = workdir / "metrics.jsonl"
begin = len(lines.read_text().splitlines()) if lines.exists() else 0
print("begins at", begin, flush=True)
(workdir / "began").touch()
for step in range(begin + 1, last + 1):
    if mode == "fails" and step == 2:
        print("error: the loss is\\nnot finite")
        sys.exit(1)
    if mode == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    while mode == "slow" and not stop and not (workdir / "go").exists():
        time.sleep(0.01)
    with lines.open("a") as file:
        file.write(json.dumps({"step": step, "group": "train"}) + "\\n")
    if stop and step < last:
        sys.exit(3)
if mode == "unscored":
    sys.exit(0)
(workdir / "evaluation").mkdir(exist_ok=True)
(workdir / "evaluation" / "metrics.json").write_text("{}")
with lines.open("a") as file:
    file.write(json.dumps({"step": last, "group": "evaluation"}) + "\\n")
"""


@pytest.fixture
def folder(tmp_path):
    return SweepFolder(tmp_path)


@pytest.fixture
def made():
    steps = {"config.train.steps": 3}
    return sweep_runs.plan(*sweeps.product([steps], sweeps.seeds(4)))


def stand_in(folder, modes=None):
    def command(trial):
        workdir = folder.workdir(trial)
        workdir.mkdir(parents=True, exist_ok=True)
        config.save(trial.experiment, workdir / config.FILE)
        mode = (modes or {}).get(trial.seed, "works")
        return [sys.executable, "-c", STAND_IN, str(workdir), "3", mode]

    return command


def states(folder, made):
    return [one.state for one in sweep_runs.progress(folder, made)]


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("parallel", [1, 3])
def test_all_run_and_a_failure_does_not_stop_the_rest(folder, made, parallel):
    ended = []
    modes = {1: "fails", 2: "dies", 3: "unscored"}
    runner = LocalTrials(folder, stand_in(folder, modes), parallel=parallel, ended=ended.append)
    assert runner.run(made)
    found = sweep_runs.progress(folder, made)
    assert [one.state for one in found] == ["finished", "failed", "failed", "failed"]
    assert found[1].reason == "exit status 1: error: the loss is not finite"
    assert found[2].reason.startswith("killed by SIGKILL, as the system does when memory runs out")
    assert found[3].reason == "the run ended without an evaluation of its last step"
    assert sorted(trial.seed for trial in ended) == [0, 1, 2, 3]
    assert all(one.seconds > 0 for one in found)
    # Once more it works, and the failure is forgotten.
    assert LocalTrials(folder, stand_in(folder)).run([made[1]])
    assert states(folder, made)[1] == "finished"
    assert "begins at 1" in folder.log(made[1]).read_text()


def test_no_more_at_a_time_than_asked(folder, made):
    runner = LocalTrials(folder, stand_in(folder, dict.fromkeys(range(4), "slow")), parallel=2)
    thread = threading.Thread(target=runner.run, args=(made,))
    thread.start()
    began = [folder.workdir(trial) / "began" for trial in made]
    wait_for(lambda: sum(path.exists() for path in began) == 2)
    assert states(folder, made) == ["running", "running", "waiting", "waiting"]
    for trial in made:
        folder.workdir(trial).mkdir(parents=True, exist_ok=True)
        (folder.workdir(trial) / "go").touch()
    thread.join()
    assert states(folder, made) == ["finished"] * 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_trials_save_and_the_same_call_goes_on(folder, made, number):
    def when_it_runs():
        wait_for((folder.workdir(made[0]) / "began").exists)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    threading.Thread(target=when_it_runs).start()
    assert not LocalTrials(folder, stand_in(folder, {0: "slow"})).run(made)
    assert signal.getsignal(number) is before
    assert states(folder, made) == ["stopped", "waiting", "waiting", "waiting"]
    assert folder.progress(made[0]).step == 1
    assert LocalTrials(folder, stand_in(folder)).run(made)
    assert states(folder, made) == ["finished"] * 4
    assert "begins at 1" in folder.log(made[0]).read_text()


def orphan(folder, trial):
    """A process that an earlier sweep, killed since, has left behind."""
    lock = folder.lock(trial)
    process = subprocess.Popen(stand_in(folder, {0: "slow"})(trial), pass_fds=(lock,))
    folder.note_process(trial, process.pid)
    os.close(lock)
    wait_for((folder.workdir(trial) / "began").exists)
    return process


def test_a_process_of_a_killed_sweep_is_waited_for(folder, made):
    process = orphan(folder, made[0])
    runner = LocalTrials(folder, stand_in(folder), parallel=2)
    thread = threading.Thread(target=runner.run, args=(made,))
    thread.start()
    wait_for(lambda: states(folder, made)[1:] == ["finished"] * 3)
    assert states(folder, made)[0] == "running"
    (folder.workdir(made[0]) / "go").touch()
    assert process.wait() == 0
    thread.join()
    assert states(folder, made) == ["finished"] * 4
    assert not folder.log(made[0]).exists()  # it was not run a second time


def test_a_process_of_a_killed_sweep_is_stopped_too(folder, made):
    process = orphan(folder, made[0])

    def signal_and_reap():
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)
        process.wait()

    threading.Thread(target=signal_and_reap).start()
    assert not LocalTrials(folder, stand_in(folder)).run(made[:1])
    assert process.returncode == 3
    assert states(folder, made[:1]) == ["stopped"]


def test_the_reason_of_a_failure(tmp_path):
    output = tmp_path / "log"
    assert why_failed(0, output) == ""
    assert why_failed(1, output) == "exit status 1: nothing was printed"
    output.write_text("error: old\n" + "step\n" * 60 + "Traceback\n  ...\nKeyError: 'x'\n\n")
    assert why_failed(1, output) == "exit status 1: KeyError: 'x'"
    output.write_text("fine\nerror: config.x: no\n  such field\n")
    assert why_failed(1, output) == "exit status 1: error: config.x: no such field"
    assert why_failed(-15, output).startswith("killed by SIGTERM; last line: error: config.x")


def test_each_trial_has_a_gpu_of_its_own(folder, made):
    def command(trial):
        stand_in(folder)(trial)
        return [sys.executable, "-c", "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"]

    LocalTrials(folder, command, parallel=2, gpus=["3", "5"]).run(made[:2])
    assert {folder.log(trial).read_text() for trial in made[:2]} == {"3\n", "5\n"}


def test_what_is_recorded_is_json(folder, made):
    LocalTrials(folder, stand_in(folder)).run(made[:1])
    [path] = pathlib.Path(folder.root / "records").glob("*.json")
    assert set(json.loads(path.read_text())) == {"failed", "seconds"}
