import os
import subprocess
import sys

import pytest
import sweep_runs

from ssd_jax.sweeps.folder import Progress, SweepFolder, seconds_left


@pytest.fixture
def folder(tmp_path):
    return SweepFolder(tmp_path / "sweep")


@pytest.fixture
def trial():
    [made] = sweep_runs.plan({"config.train.steps": 40})
    return made


def test_a_trial_is_what_its_run_has_written(folder, trial):
    assert folder.progress(trial)[1:] == ("waiting", 0, 0.0, "")
    sweep_runs.write(folder, trial, step=10)
    assert folder.progress(trial)[1:3] == ("stopped", 10)
    (folder.workdir(trial) / "checkpoints" / "15").mkdir(parents=True)
    assert folder.progress(trial).step == 15
    folder.update_record(trial, failed="no memory", seconds=8.0)
    assert folder.progress(trial)[1:] == ("failed", 15, 8.0, "no memory")
    sweep_runs.write(folder, trial, 0.5)
    assert folder.progress(trial)[1:] == ("finished", 40, 8.0, "")
    assert folder.record(trial) == {"failed": "no memory", "seconds": 8.0}


def test_an_evaluation_on_the_way_is_not_the_end(folder, trial):
    sweep_runs.write(folder, trial, 0.5)
    [longer] = sweep_runs.plan({"config.train.steps": 50, "config.name": "x"})
    longer = type(trial)(trial.name, trial.setting, trial.overrides, longer.experiment)
    assert folder.progress(longer).state == "stopped"


def test_a_half_written_line_is_left_alone(folder, trial):
    sweep_runs.write(folder, trial, step=10)
    path = folder.workdir(trial) / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 20, "gro')
    assert folder.progress(trial).step == 10


def test_a_lock_lives_as_long_as_the_process_that_inherited_it(folder, trial):
    lock = folder.lock(trial)
    waits = [sys.executable, "-c", "input()"]
    process = subprocess.Popen(waits, stdin=subprocess.PIPE, pass_fds=(lock,))
    folder.note_process(trial, process.pid)
    os.close(lock)
    try:
        assert folder.lock(trial) is None
        assert folder.process(trial) == process.pid
        assert folder.progress(trial).state == "running"
    finally:
        process.communicate(b"\n")
    assert not folder.is_locked(trial)
    assert folder.process(trial) is None
    assert folder.progress(trial).state == "waiting"


def test_a_run_of_another_config_is_refused(folder, trial):
    sweep_runs.write(folder, trial, 0.5)
    folder.check([trial])
    changed = {"config.train.steps": 40, "config.optimizer.learning_rate": 0.5}
    [other] = sweep_runs.plan(changed)
    other = type(trial)(trial.name, trial.setting, trial.overrides, other.experiment)
    with pytest.raises(ValueError, match=r"optimizer\.learning_rate: 0\.01 -> 0\.5.*another"):
        folder.check([other])
    # More steps, or another place of the data, are no other config.
    [longer] = sweep_runs.plan({"config.train.steps": 80, "config.data.data_dir": "elsewhere"})
    folder.check([type(trial)(trial.name, trial.setting, {}, longer.experiment)])


def test_time_left(trial):
    def one(state, step, seconds):
        return Progress(trial, state, step, seconds, "")

    assert seconds_left([one("waiting", 0, 0.0)], 1) is None
    # 60 s for 60 steps: a second each; 40 - 20 steps and 40 + 40 are left.
    some = [one("finished", 40, 40.0), one("running", 20, 20.0), *[one("waiting", 0, 0.0)] * 2]
    assert seconds_left(some, 1) == pytest.approx(100)
    assert seconds_left(some, 2) == pytest.approx(50)
    assert seconds_left(some, 8) == pytest.approx(40)
    assert seconds_left([one("finished", 40, 40.0), one("failed", 0, 0.0)], 1) == 0
