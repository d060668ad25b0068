"""Joining other processes; `tests/train/test_processes.py` has several real ones."""

import os
import pathlib
import signal
import subprocess
import sys

import jax
import pytest
from absl import flags
from absl.testing import flagsaver

from launch import processes, train  # noqa: F401  (train defines the flags)

ROOT = pathlib.Path(__file__).parents[2]
ADDRESS = "--coordinator_address=localhost:1"


@pytest.fixture
def given(monkeypatch):
    """Sets flags as a command line would, on a machine that is part of no cluster."""
    for name in list(os.environ):
        if name.startswith(("SLURM_", "OMPI_", "JAX_COORDINATOR", "KUBERNETES_")):
            monkeypatch.delenv(name)

    def set_flags(*words):
        # One by one: other tests import commands whose flags are required.
        flags.FLAGS.mark_as_parsed()
        for word in words:
            name, _, value = word.removeprefix("--").partition("=")
            flags.FLAGS[name].parse(value or "true")

    with flagsaver.flagsaver():
        yield set_flags


def join(**kwargs):
    with processes.joined(**kwargs):
        pass


@pytest.mark.parametrize("flag", [ADDRESS, "--num_processes=2", "--process_id=0"])
def test_a_flag_of_several_processes_is_not_read_in_silence(given, flag):
    given(flag)
    with pytest.raises(ValueError, match=f"{flag.partition('=')[0]} is for several processes: "):
        join()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Give --coordinator_address, --num_processes, --process_id$"),
        ((ADDRESS,), "Give --num_processes, --process_id$"),
        ((ADDRESS, "--num_processes=2"), "Give --process_id$"),
        (("--num_processes=2", "--process_id=1"), "Give --coordinator_address$"),
        ((ADDRESS, "--num_processes=2", "--process_id=2"), "process_id < num_processes.*got"),
        (("--coordinator_address=here",), "expected HOST:PORT, got 'here'"),
    ],
    ids=lambda value: "",
)
def test_what_is_missing_is_named(given, monkeypatch, words, message):
    # These tests have a backend already, which JAX asks first.
    monkeypatch.setattr("jax._src.xla_bridge.backends_are_initialized", lambda: False)
    given("--distributed", *words)
    with pytest.raises(ValueError, match=f"(?i){message}"):
        join()


@pytest.mark.parametrize("saves", [False, True])
def test_sigterm_ends_what_does_not_save(given, monkeypatch, saves):
    def initialize(*, heartbeat_timeout_seconds, **settings):
        assert heartbeat_timeout_seconds == 7
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # JAX, too, takes it away

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    before = signal.getsignal(signal.SIGTERM)
    given("--distributed", "--heartbeat_timeout=7")
    try:
        with processes.joined(saves_on_sigterm=saves):
            expected = signal.SIG_IGN if saves else signal.SIG_DFL
            assert signal.getsignal(signal.SIGTERM) == expected
    finally:
        signal.signal(signal.SIGTERM, before)


def test_as_a_command_it_is_a_line():
    words = [sys.executable, "-m", "launch.train", "--config=configs/quickstart.py"]
    done = subprocess.run(
        [*words, "--workdir=x", "--distributed", "--num_processes=2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: --distributed: coordinator_address")
