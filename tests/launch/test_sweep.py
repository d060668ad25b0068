"""The command on a tiny sweep, from its first mistake to its report."""

import csv

import pytest
from typed import command

# As in test_commands.py, so that the compiled programs are the same.
SWEEP = """
from ssd_jax import sweeps

CONFIG = "configs/quickstart.py"
COMMON = {
    "config.model.image_size": (64, 64),
    "config.model.width": 0.02,
    "config.data.canvas": (64, 64),
    "config.train.batch_size": 4,
    "config.train.steps": 2,
    "config.train.eval_every": 0,
    "config.evaluate.batch_size": 5,
}

def get_sweep():
    settings = sweeps.named({"good": {}, "bad": {"config.anchors.s_min": 0.9}})
    return [*settings, {"config.train.seed": 0}]
"""


def sweep(*arguments):
    return command("sweep", *arguments)


@pytest.fixture(scope="module")
def run(shapes_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "y.py").write_text(SWEEP)
    workdir = folder / "runs"
    arguments = [f"--sweep={folder / 'y.py'}", f"--config.data.data_dir={shapes_dir}"]
    return workdir, sweep(*arguments, f"--workdir={workdir}", "--parallel=2")


def test_good_trials_finish_and_a_bad_one_says_why(run):
    workdir, result = run
    assert result.returncode == 1, result.stderr
    assert "Left out: 1 that says the same as another trial" in result.stderr
    assert "1 finished, 1 failed" in result.stdout
    assert "failed: bad,seed=0: exit status 1: error:" in result.stdout
    assert "s_min < s_max" in result.stdout
    assert "Traceback" not in result.stderr + result.stdout
    finished = workdir / "trials" / "good,seed=0"
    assert (finished / "checkpoints" / "2").is_dir()
    assert (finished / "evaluation" / "metrics.json").is_file()
    with (workdir / "results.csv").open() as file:
        good, bad = csv.DictReader(file)
    assert (good["setting"], good["finished"], good["like_the_best"]) == ("good", "1", "best")
    assert float(good["mAP"]) >= 0
    assert 0 < float(good["covered"]) <= 1
    assert (bad["failed"], bad["mAP"]) == ("1", "")
    page = (workdir / "report.html").read_text()
    assert "python -m launch.train --config=configs/quickstart.py" in page
    assert "--config.train.steps=2" in page


def test_the_folder_alone_tells_how_far_it_is(run):
    workdir, _ = run
    report = workdir / "report.html"
    report.unlink()
    status = sweep(f"--workdir={workdir}", "--status")
    assert status.returncode == 0, status.stderr
    assert "1 finished, 1 failed" in status.stdout
    assert not report.exists()


def test_a_mistake_is_a_line_before_anything_runs(tmp_path):
    path = tmp_path / "y.py"
    path.write_text("def get_sweep():\n    return [{}, {'config.anchors.s_mim': 0.1}]\n")
    result = sweep("--config=configs/quickstart.py", f"--sweep={path}", f"--workdir={tmp_path}/w")
    assert result.returncode == 1
    assert "y.py, trial 2: config.anchors.s_mim: there is no such field; did" in result.stderr
    assert "mean config.anchors.s_min?" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "w").exists()
