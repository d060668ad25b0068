import os
import subprocess
import sys

import pytest
from typed import ROOT

PRINTS = """
import sys
from launch import pipes
with pipes.reader_may_leave():
    {body}
"""


def run(body, shell):
    """Returns the status of a program in a shell line, and what it said on standard error."""
    program = [sys.executable, "-c", PRINTS.format(body=body)]
    line = f'"$@" {shell}; exit ${{PIPESTATUS[0]}}'
    result = subprocess.run(
        ["bash", "-c", line, "bash", *program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    return result.returncode, result.stderr


LONG = "[print('x' * 80) for _ in range(100_000)]"
RICH = "import rich.console; c = rich.console.Console(); [c.print('x' * 80) for _ in range(3000)]"


@pytest.mark.parametrize("body", [LONG, RICH, "print('x'); sys.exit(0)", "print('x'); sys.exit(1)"])
def test_a_reader_that_leaves_is_no_error(body):
    sleep = "import time; time.sleep(0.3); "  # until the reader has left
    assert run(sleep + body, "| true") == (141, "")


@pytest.mark.parametrize("status", [0, 1])
def test_the_status_is_the_programs_otherwise(status):
    assert run(f"print('x'); sys.exit({status})", "| cat") == (status, "")
    assert run(f"print('x'); sys.exit({status})", "") == (status, "")


def test_a_full_disk_is_said():
    status, said = run("print('x')", "> /dev/full")
    assert (status, said) == (1, "error: the output cannot be written: No space left on device\n")


def test_a_broken_pipe_of_something_else_is_not_hidden():
    status, said = run("raise BrokenPipeError('of a socket')", "| cat")
    assert status == 1
    assert "BrokenPipeError: of a socket" in said
