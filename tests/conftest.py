"""Eight simulated devices, checked types in the ops, and the optional shared data."""

import os
import pathlib

import jax

# Before any array exists. Tests that want one device take it from jax.devices()[:1].
jax.config.update("jax_platforms", os.environ.get("JAX_PLATFORMS", "cpu"))
jax.config.update("jax_num_cpu_devices", 8)

from jaxtyping import install_import_hook  # noqa: E402

install_import_hook("ssd_jax.ops", "beartype.beartype")

import hypothesis  # noqa: E402
import pytest  # noqa: E402

# Compilation makes the first example slow, so a deadline would only measure the compiler;
# derandomised, so that a failure in CI is a failure on every machine.
hypothesis.settings.register_profile("default", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("default")

SHARED = pathlib.Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder of real images and fixtures beside the checkout; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside this checkout: real data and fixtures are absent")
    return SHARED
