"""A process that compiles uses no accelerator of its machine, whatever the environment says."""

import os
import subprocess
import sys

PROGRAM = """
import sys
from ssd_jax.compiled import environment
assert "jax" not in sys.modules
environment.hide_accelerators()
import jax
assert jax.default_backend() == "cpu"
"""


def test_only_the_cpu_is_used():
    asked = {**os.environ, "JAX_PLATFORMS": "tpu,cuda"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=asked, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
