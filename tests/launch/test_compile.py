"""launch.compile on simulated devices; the compilers of TPUs where they are installed."""

import importlib.util
import json

import pytest
from typed import command

TINY = (
    "--config=configs/quickstart.py",
    "--config.model.image_size=(64, 64)",
    "--config.model.width=0.02",
    "--config.data.canvas=(64, 64)",
    "--config.train.batch_size=16",
    "--config.evaluate.batch_size=8",
)
CLASSES = "--config.model.num_classes=4"


def compile_tiny(*flags):
    return command("compile", *TINY, *flags)


def test_a_training_step_for_eight_devices(tmp_path):
    out = tmp_path / "out"
    done = compile_tiny(CLASSES, "--topology=cpu:8", f"--output={out}", "--hlo")
    assert done.returncode == 0, done.stderr
    assert "not a measurement" in done.stdout
    assert {path.name for path in out.iterdir()} == {
        "summary.json",
        "collectives.json",
        "report.md",
        "program.txt",
    }
    assert (out / "report.md").read_text() == done.stdout.removesuffix("\n")
    assert (out / "program.txt").read_text().startswith("HloModule")
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["devices"], summary["images"], summary["images_per_device"]) == (8, 16, 2)
    assert summary["flops"] > 0
    assert summary["memory"]["arguments"] > 0
    assert summary["memory"]["fits"] is None
    assert summary["step"] is None
    listed = json.loads((out / "collectives.json").read_text())
    assert sum(one["bytes"] for one in listed) == sum(
        one["bytes"] for one in summary["collectives"]
    )
    assert any(one["carries"] == "gradients" for one in listed)
    assert {one["group_size"] for one in listed} == {8}


def test_a_detection_step():
    training = "--config.train.batch_size=7"  # of no concern here
    done = compile_tiny(CLASSES, "--topology=cpu:8", "--step=detect", training)
    assert done.returncode == 0, done.stderr
    assert "detection on cpu:8" in done.stdout


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--topology=cpu:8",), "give --config.model.num_classes=21"),
        ((CLASSES, "--topology=cpu:5"), "config.train.batch_size: 16 images do not divide"),
        ((CLASSES, "--topology=cpu:8", "--hlo"), "--hlo writes a file: give --output"),
        ((CLASSES, "--topology=cpu:8", "--scale=4,x"), "--scale: expected numbers of chips"),
        ((CLASSES, "--topology=tpu:8"), "--topology: expected a chip of"),
    ],
)
def test_errors_are_one_line(flags, said):
    done = compile_tiny(*flags)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs the extra: ssd_jax[tpu]"
)
def test_a_training_step_for_a_tpu(tmp_path):
    done = compile_tiny(CLASSES, "--topology=v5e:2x2", f"--output={tmp_path}", "--scale=4,256")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["memory"]["fits"]
    step = summary["step"]
    assert step["cycles"] == sum(part["forward"] + part["backward"] for part in step["parts"])
    assert 0 < step["share_of_peak"] < 1
    assert [row["chips"] for row in summary["scaling"]["rows"]] == [4, 256]
