"""The wheel, built and installed into an empty environment."""

import os
import pathlib
import subprocess
import sys
import venv
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]

USES_OPS = """
import sys, time
began = time.perf_counter()
import ssd_jax
assert time.perf_counter() - began < 0.2
assert "jax" not in sys.modules
from ssd_jax.ops import anchors
assert anchors.generate(anchors.preset("ssd300_voc")).shape == (8732, 4)
assert ssd_jax.ops.boxes.pairwise_iou
try:
    ssd_jax.build
except ModuleNotFoundError as error:
    assert "pip install 'ssd_jax[train]'" in str(error), error
else:
    raise AssertionError("the extra should be missing")
"""


def run(*command, cwd):
    # Without the checkout on the path, and with huge pages left alone.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    # A copy: setuptools writes beside what it builds.
    run("git", "clone", "--quiet", str(ROOT), str(folder / "source"), cwd=folder)
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(folder / "source"), cwd=folder)
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture
def empty(tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    return tmp_path / "env" / "bin"


def test_it_puts_nothing_at_top_level_but_the_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name.split("/")[0] for name in archive.namelist()}
        assert "ssd_jax/py.typed" in archive.namelist()
    assert {name for name in names if not name.endswith(".dist-info")} == {"ssd_jax"}


@pytest.mark.slow
def test_the_ops_need_jax_and_numpy_alone(wheel, empty, tmp_path):
    run(str(empty / "pip"), "install", "--quiet", str(wheel), cwd=tmp_path)
    run(str(empty / "python"), "-c", USES_OPS, cwd=tmp_path)
    listed = run(str(empty / "pip"), "list", "--format=freeze", cwd=tmp_path)
    assert not {"flax", "matplotlib", "tensorflow-datasets"} & {
        line.partition("==")[0] for line in listed.splitlines()
    }


@pytest.mark.slow
def test_with_the_extra_a_run_is_a_command(wheel, empty, tmp_path):
    run(str(empty / "pip"), "install", "--quiet", f"{wheel}[train]", cwd=tmp_path)
    command = str(empty / "ssd-jax")
    scenes = ("--format", "shapes", "--name", "shapes", "--num_train", "16", "--num_val", "8")
    run(command, "prepare", *scenes, cwd=tmp_path)
    small = ("train.steps=2", "train.batch_size=4", "evaluate.batch_size=8", "model.width=0.1")
    flags = (f"--config.{field}" for field in small)
    train = ("train", "--config", "configs/quickstart.py", "--workdir", "run")
    run(command, *train, *flags, cwd=tmp_path)
    load = "import ssd_jax; assert len(ssd_jax.load('run').detector().anchors) == 680"
    run(str(empty / "python"), "-c", load, cwd=tmp_path)
