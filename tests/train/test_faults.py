"""A run as a command: killed, short of space, and started twice. `soak.py` is the long form."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import soak

STEPS = ("--config.train.steps=12", "--config.train.num_pictures=0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def data(folder):
    return soak.prepare(folder)


@pytest.fixture(scope="module")
def whole(folder, data):
    """The workdir of a run that was not disturbed."""
    run = soak.Run(folder / "whole", data)
    run.finish(*STEPS)
    return run.workdir


def until(condition, seconds=60.0):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.002)


def test_kills_leave_no_trace(whole, data, tmp_path):
    run = soak.Run(tmp_path / "run", data)
    rng = random.Random(0)
    for aim, number in (
        ("checkpoint", signal.SIGKILL),
        (soak.DETECTION, signal.SIGKILL),
        ("evaluation", signal.SIGTERM),
    ):
        statuses = run.kill(aim, number, rng, *STEPS, delay=0.0)
        assert statuses in ([-number], [3]), run.said()
    run.finish(*STEPS)
    soak.assert_same(whole, run.workdir)


def test_a_second_run_is_refused_and_disturbs_nothing(whole, data, tmp_path):
    run = soak.Run(tmp_path / "run", data)
    [first] = run.start(*STEPS, "--config.data.num_workers=1")
    until(lambda: (run.workdir / "config.json").exists())
    first.send_signal(signal.SIGSTOP)
    [second] = run.start(*STEPS)
    assert second.wait(60) == 1
    assert f"another run is at work here (process {first.pid} on " in run.said()
    first.send_signal(signal.SIGCONT)
    assert first.wait(60) == 0, run.said()
    soak.assert_same(whole, run.workdir)


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0, reason="only root can mount a tmpfs"
)
def test_on_a_full_disk_the_run_ends_and_goes_on_once_there_is_space(whole, data, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    # Enough for the first checkpoint and not for the second.
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2000k", "tmpfs", disk], check=False
    ).returncode
    if mounted:
        pytest.skip("mount: no tmpfs in this container")
    try:
        run = soak.Run(disk / "run", data)
        run.log = tmp_path / "run.log"
        [process] = run.start(*STEPS)
        assert process.wait(60) == 1
        assert "error: " in run.said().splitlines()[-1]
        assert "once" in run.said().splitlines()[-1]
        subprocess.run(["mount", "-o", "remount,size=40000k", disk], check=True)
        run.finish(*STEPS)
        soak.assert_same(whole, run.workdir)
    finally:
        subprocess.run(["umount", disk], check=True)
