"""The templates: their syntax, and that what they name is there. `test_slurm.py` runs the first."""

import pathlib
import re
import shutil
import subprocess

import pytest
from absl import flags

from launch import processes, train  # noqa: F401  (train defines the flags)

CLUSTER = pathlib.Path(__file__).parents[2] / "launch" / "cluster"


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize("name", ["train.sbatch", "tpu_queued_resource.sh"])
def test_the_scripts_are_bash(name):
    subprocess.run(["bash", "-n", CLUSTER / name], check=True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("status", "restarts", "requeued"),
    [(0, 0, False), (1, 0, False), (3, 9, True), (134, 4, True), (137, 5, False)],
)
def test_what_a_job_does_after_its_run(tmp_path, status, restarts, requeued):
    for name, body in (("srun", f"exit {status}"), ("scontrol", 'echo "$@" > requeued')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    env = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_ID": "7",
        "SLURM_RESTART_COUNT": str(restarts),
    }
    done = subprocess.run(["bash", CLUSTER / "train.sbatch"], env=env, check=False)
    assert done.returncode == status
    said = tmp_path / "requeued"
    assert (said.read_text() if said.exists() else "") == ("requeue 7\n" if requeued else "")


@pytest.fixture
def jobset():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return yaml.safe_load((CLUSTER / "jobset.yaml").read_text())


def test_the_jobset_has_what_its_schema_asks_for(jobset):
    # JobSet's CustomResourceDefinition (v1alpha2) and batch/v1, whose schemas are not here.
    assert jobset["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
    assert jobset["kind"] == "JobSet"
    assert set(jobset["spec"]) == {"failurePolicy", "coordinator", "replicatedJobs"}
    [rule] = jobset["spec"]["failurePolicy"]["rules"]
    assert {"name", "action"} <= set(rule)
    [job] = jobset["spec"]["replicatedJobs"]
    assert set(job) == {"name", "replicas", "template"}
    assert jobset["spec"]["coordinator"]["replicatedJob"] == job["name"]
    spec = job["template"]["spec"]
    for each in spec["podFailurePolicy"]["rules"]:  # one of the two
        assert len(each.keys() & {"onExitCodes", "onPodConditions"}) == 1
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # podFailurePolicy takes no other
    [container] = pod["containers"]
    assert {"name", "image"} <= set(container)
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_the_jobset_starts_as_many_processes_as_it_says(jobset):
    spec = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    [container] = spec["template"]["spec"]["containers"]
    env = {one["name"]: one.get("value") for one in container["env"]}
    assert spec["completionMode"] == "Indexed"
    assert spec["parallelism"] == spec["completions"] == int(env["NUM_PROCESSES"])
    codes = spec["podFailurePolicy"]["rules"][0]["onExitCodes"]
    assert (codes["containerName"], codes["values"]) == (container["name"], [3])
    [script] = container["args"]
    assert set(re.findall(r"\$(\w+)", script)) == {*env, "JOB_COMPLETION_INDEX"}
    for name in re.findall(r"--(\w+)", script):
        assert name == "config" or name in flags.FLAGS
    [port] = container["ports"]
    assert f"$COORDINATOR:{port['containerPort']}" in script
