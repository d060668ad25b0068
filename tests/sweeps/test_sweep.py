import sys

import pytest
import sweep_runs

from configs import quickstart
from ssd_jax.sweeps.plan import SweepFile
from ssd_jax.sweeps.sweep import Sweep

FILE = SweepFile(
    "scales.py",
    "",
    {"config.train.steps": 8},
    ({"config.anchors.s_min": 0.1}, {"config.anchors.s_min": 0.2}, {"config.anchors.s_min": 0.1}),
)


def sweep(root, file=FILE, **options):
    base = quickstart.get_config().to_dict()
    options = {"commands": "launch", "overrides": {"config.train.batch_size": "4"}, **options}
    return Sweep(file, "configs/quickstart.py", base, root, **options)


@pytest.mark.parametrize("package", ["launch", "ssd_jax.launch"])
def test_a_trial_is_run_by_the_package_that_runs_the_sweep(tmp_path, package):
    made = sweep(tmp_path, commands=package)
    first = made.progress()[0].trial
    assert made.command(first) == [
        *(sys.executable, "-m", f"{package}.train", "--config=configs/quickstart.py"),
        *("--config.train.steps=8", "--config.anchors.s_min=0.1", "--config.train.batch_size=4"),
        f"--workdir={tmp_path / 'trials' / 's_min=0.1,seed=0'}",
        f"--compilation_cache={tmp_path / 'compilation_cache'}",
    ]


@pytest.mark.parametrize("cache", ["", "/tmp/mine"])
def test_another_cache_and_none_are_passed_on(tmp_path, cache):
    made = sweep(tmp_path, cache=cache)
    command = made.command(made.progress()[0].trial)
    assert command[-1] == f"--compilation_cache={cache}"


def test_the_status_and_the_report_say_how_far_it_is(tmp_path):
    made = sweep(tmp_path)
    first, second = (one.trial for one in made.progress())
    assert made.status() == "2 waiting"
    sweep_runs.write(made.folder, first, 0.5)
    made.folder.update_record(first, seconds=16.0)
    made.folder.update_record(second, failed="exit status 1: error: no memory")
    assert made.status().splitlines() == [
        "1 finished, 1 failed",
        "  failed: s_min=0.2,seed=0: exit status 1: error: no memory",
        f"    its output: {made.folder.log(second)}; --retry runs it again",
    ]
    sweep_runs.write(made.folder, second, step=4)
    made.folder.update_record(second, failed="", seconds=8.0)
    # 24 seconds for 12 steps, and 4 steps are left.
    assert made.status().splitlines() == [
        "1 finished, 1 stopped",
        "  stopped: s_min=0.2,seed=0, step 4 of 8",
        "about 8s left",
    ]
    page = made.write_report().read_text()
    assert "scales on configs/quickstart.py" in page
    assert "python -m launch.train --config=configs/quickstart.py" in page
    assert "Left out: 1 of the sweep file that says the same as another trial." in page
    assert "All trials: config.train.steps=8, config.train.batch_size=4" in page
    assert "python -m launch.sweep" in page


def test_a_sweep_without_a_data_set_to_score_on_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"scales\.py, s_min=0\.1,seed=0: .* config\.data\.eval"):
        sweep(tmp_path, overrides={"config.data.eval": ""})
