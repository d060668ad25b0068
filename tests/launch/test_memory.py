import platform
import subprocess
import sys

import pytest


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these options")
def test_freed_memory_is_kept():
    # 64 arrays of 40 MB, one after the other: mapped anew, each page of each would fault.
    program = """
import resource, sys
import numpy as np
if sys.argv[1] == "kept":
    from launch.memory import keep_freed_memory
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(5_000_000)
before = faults()
for _ in range(64):
    np.ones(5_000_000)
print(faults() - before)
"""
    counts = {}
    for mode in ("default", "kept"):
        result = subprocess.run(
            [sys.executable, "-c", program, mode], capture_output=True, text=True, check=True
        )
        counts[mode] = int(result.stdout)
    assert counts["kept"] < 0.1 * counts["default"]
