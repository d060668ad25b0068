"""A real SLURM: the template's job over two nodes, and a sweep as an array, each requeued once.

Minutes long, since SLURM lets a requeued job wait for two. Skips where no SLURM with two idle nodes
answers; `SLURM_CONF` names the configuration of one that is not in /etc/slurm.
"""

import os
import re
import shutil
import subprocess
import sys
import time

import pytest
import soak

pytestmark = pytest.mark.slow

TEMPLATE = "launch/cluster/train.sbatch"
QUEUED_AGAIN_SECONDS = 600


def slurm(*words, env=None):
    done = subprocess.run(words, cwd=soak.ROOT, env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def job_says(job, name):
    return re.search(rf"\b{name}=(\S+)", slurm("scontrol", "show", "job", "--oneliner", job))[1]


def wait_for(condition, seconds):
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < give_up
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def cluster():
    if shutil.which("sbatch") is None:
        pytest.skip("no sbatch here: SLURM is not installed")
    nodes = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--states=idle", "--format=%N"],
        capture_output=True,
        text=True,
        check=False,
    )
    if nodes.returncode or len(set(nodes.stdout.split())) < 2:
        pytest.skip(f"no SLURM with two idle nodes answers: {nodes.stderr.strip() or nodes.stdout}")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return soak.prepare(tmp_path_factory.mktemp("slurm"))


@pytest.mark.usefixtures("cluster")
def test_a_job_that_is_requeued_ends_as_if_it_had_not_been(data, tmp_path):
    whole = soak.Run(tmp_path / "whole", data, processes=2)
    whole.finish()
    run = soak.Run(tmp_path / "run", data, processes=2)
    words = (TEMPLATE, *run.config(), f"--workdir={run.workdir}", soak.CACHE)
    env = {**run.environment(), "PYTHON": sys.executable}
    job = slurm("sbatch", "--parsable", f"--output={run.log}", *words, env=env)
    try:
        wait_for((run.workdir / "checkpoints" / "8").exists, 300)
        slurm("scontrol", "requeue", job)
        wait_for(lambda: job_says(job, "Restarts") == "1", 60)
        ended = ("COMPLETED", "FAILED", "CANCELLED")
        wait_for(lambda: job_says(job, "JobState") in ended, QUEUED_AGAIN_SECONDS)
        assert job_says(job, "JobState") == "COMPLETED", run.said()
    finally:
        subprocess.run(["scancel", job], check=False)
    text = run.log.read_text()
    assert len(re.findall(r"This is process [01] of 2", text)) == 4
    assert "Stopped at step" in text
    assert len(re.findall("Resumed at step", text)) == 1  # process 0 alone logs
    soak.assert_same(whole.workdir, run.workdir)


@pytest.mark.usefixtures("cluster")
def test_a_sweep_goes_on_after_a_trial_was_preempted(data, tmp_path):
    pytest.importorskip("submitit", reason="submitit is not installed: pip install ssd_jax[slurm]")
    (tmp_path / "seeds.py").write_text(
        "from ssd_jax import sweeps\n"
        "CONFIG = 'configs/quickstart.py'\n"
        "COMMON = {}\n"
        "def get_sweep():\n"
        "    return sweeps.seeds(2)\n"
    )
    whole = soak.Run(tmp_path / "whole", data)
    whole.finish("--config.train.seed=0")
    root = tmp_path / "sweep"
    sweep = subprocess.Popen(
        [
            *(sys.executable, "-m", "launch.sweep", f"--sweep={tmp_path / 'seeds.py'}"),
            *(f"--workdir={root}", "--executor=slurm", "--parallel=2", "--slurm=timeout_min=20"),
            *(soak.CACHE, *whole.config()[1:]),
        ],
        cwd=soak.ROOT,
        env={**whole.environment(), "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        first = wait_for(lambda: next(root.glob("trials/*/checkpoints/8"), None), 300)
        trial = first.parents[1].name
        [job] = re.findall(r'"job": "(\w+)"', (root / "records" / f"{trial}.json").read_text())
        slurm("scontrol", "requeue", job)
        assert sweep.wait(QUEUED_AGAIN_SECONDS) == 0
    finally:
        sweep.kill()
        sweep.wait()
    assert "Resumed at step" in (root / "logs" / f"{trial}.log").read_text()
    [same] = [path for path in root.glob("trials/*") if "seed=0" in (path.name)]
    soak.assert_same(whole.workdir, same)
