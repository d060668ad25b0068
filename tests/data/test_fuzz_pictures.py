"""The fuzzer of pictures, for a moment; it runs for as long as one likes by itself."""

import pathlib
import re
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).with_name("fuzz_pictures.py")


@pytest.mark.parametrize(
    "seconds", [3, pytest.param(300, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_damaged_pictures_are_refused_by_a_value_error(seconds, tmp_path):
    result = subprocess.run(
        [sys.executable, SCRIPT, f"--seconds={seconds}", f"--keep={tmp_path / 'picture'}"],
        capture_output=True,
        text=True,
        timeout=seconds + 120,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr[-2000:]
    read, refused = map(int, re.findall(r"(\d+) read, (\d+) refused", result.stdout)[0])
    assert read > 20 * seconds
    assert refused > 20 * seconds
