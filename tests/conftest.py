"""Eight simulated devices, checked types in the ops, and the optional shared data."""

import os
import pathlib

# Tests run small programs once: compiling them well would take longer than running them badly.
# In the environment, so that the commands that tests start inherit it.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

import jax

# Before any array exists. Tests that want one device take it from jax.devices()[:1].
jax.config.update("jax_platforms", os.environ.get("JAX_PLATFORMS", "cpu"))
jax.config.update("jax_num_cpu_devices", 8)

# A program that several tests run is compiled once, and not again by the next run of the tests.
ROOT = pathlib.Path(__file__).resolve().parents[1]
jax.config.update("jax_compilation_cache_dir", str(ROOT / ".pytest_cache" / "xla"))

from jaxtyping import install_import_hook  # noqa: E402

install_import_hook("ssd_jax.ops", "beartype.beartype")

import hypothesis  # noqa: E402
import pytest  # noqa: E402

# Compilation makes the first example slow, so a deadline would only measure the compiler;
# derandomised, so that a failure in CI is a failure on every machine.
hypothesis.settings.register_profile("default", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("default")

SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder of real images and fixtures beside the checkout; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside this checkout: real data and fixtures are absent")
    return SHARED


@pytest.fixture(scope="session")
def shapes_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A data_dir with `shapes`: 20 train and 10 val scenes of 64 pixels."""
    from ssd_jax.data import preparation, shapes

    data_dir = tmp_path_factory.mktemp("datasets")
    scenes = shapes.ShapeScenes(num_train=20, num_val=10, image_size=64, max_objects=4)
    preparation.prepare(scenes, name="shapes", data_dir=data_dir)
    return data_dir


@pytest.fixture
def tiny(shapes_dir: pathlib.Path):
    """The config of a run of seconds: an 8-channel SSD on 64-pixel scenes, batches of 8."""
    from configs import ssd
    from ssd_jax import config

    tiny = config.defaults()
    ssd.small_network(tiny)
    tiny.model.image_size = (64, 64)  # maps 8, 4, 2
    tiny.model.width = 0.02
    tiny.model.extras.layers = ((256, 512, 3, 2, 1),)
    tiny.anchors.ratios = ((2.0,), (2.0, 3.0), (2.0,))
    tiny.data.train, tiny.data.eval = "shapes:train", "shapes:val"
    tiny.data.data_dir = str(shapes_dir)
    tiny.data.canvas = (64, 64)
    tiny.data.max_objects = 4
    tiny.optimizer.clip_norm = 10.0
    tiny.train.batch_size = 8
    tiny.train.steps = 4
    tiny.train.log_every = 1
    tiny.train.eval_every = 0
    tiny.evaluate.batch_size = 8
    return tiny
