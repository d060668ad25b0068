"""Runs a command as a user types it, with one cache of compiled programs for all tests."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def command(name, *arguments):
    cache = ROOT / ".pytest_cache" / "xla"
    return subprocess.run(
        [sys.executable, "-m", f"launch.{name}", f"--compilation_cache={cache}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
