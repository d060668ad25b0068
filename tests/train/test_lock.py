import errno
import fcntl
import logging
import os
import signal
import subprocess
import sys
import time

import pytest

from ssd_jax.train import lock

HOLD = """
import pathlib, sys, time
from ssd_jax.train import lock
with lock.only_run(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_PATIENCE_SECONDS", 0.2)
    return tmp_path / "run" / "checkpoints" / lock.LOCK


def test_a_second_run_is_refused_while_the_first_lives(path):
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE) as first:
        assert first.stdout.readline() == b"held\n"
        said = rf"run: another run .*\(process {first.pid} on "
        with pytest.raises(ValueError, match=said), lock.only_run(path):
            pass
        first.send_signal(signal.SIGKILL)
        first.wait()
    with lock.only_run(path):
        pass


def test_it_is_free_after_the_run(path):
    for _ in range(2):
        with lock.only_run(path):
            pass


def test_a_disk_without_locks_is_reported_and_used(path, monkeypatch, caplog):
    def unsupported(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    began = time.monotonic()
    with caplog.at_level(logging.WARNING), lock.only_run(path):
        pass
    assert "start no second run" in caplog.text
    assert time.monotonic() - began < 0.2


def test_a_full_disk_does_not_keep_the_lock_from_a_run(path, monkeypatch):
    def full(file, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with lock.only_run(path):
        pass
