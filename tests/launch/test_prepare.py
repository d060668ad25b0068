import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ssd_jax.data import records

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "launch.prepare", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def voc_folder(tmp_path):
    """Two pictures, `a` and `b`; `b` has a box without area."""
    folder = tmp_path / "VOC"
    for name in ("JPEGImages", "Annotations"):
        (folder / name).mkdir(parents=True)
    for image_id, x_max in (("a", 9), ("b", 2)):
        Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(folder / f"JPEGImages/{image_id}.jpg")
        box = f"<xmin>2</xmin><ymin>2</ymin><xmax>{x_max}</xmax><ymax>9</ymax>"
        (folder / f"Annotations/{image_id}.xml").write_text(
            f"<a><object><name>dog</name><bndbox>{box}</bndbox></object></a>"
        )
    return folder


def test_shapes_need_no_input(tmp_path):
    result = run(
        "--format=shapes", "--name=shapes", f"--data_dir={tmp_path}",
        "--num_train=3", "--num_val=2", "--image_size=64", "--max_objects=2",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "triangle" in result.stdout
    assert "--config.data.train=shapes:SPLIT" in result.stdout
    assert len(records.open_source("shapes:train", tmp_path)) == 3
    assert len(records.open_source("shapes:val", tmp_path)) == 2


def test_bad_data_stops_it_and_names_file_and_object(voc_folder, tmp_path):
    arguments = ("--format=voc", f"--source={voc_folder}", "--name=pets", f"--data_dir={tmp_path}")
    result = run(*arguments)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "b.xml, object 1 (dog): no area: xmin = xmax in (2, 2, 2, 9)" in result.stderr
    assert "--on_error skip" in result.stderr
    assert not (tmp_path / "pets").exists()

    result = run(*arguments, "--on_error=skip")
    assert result.returncode == 0, result.stderr
    assert "Left out because of 1 problem" in result.stderr
    left_out = tmp_path / "pets" / "1.0.0" / "left_out.txt"
    assert str(left_out) in result.stderr
    assert "b.xml, object 1 (dog)" in left_out.read_text()
    assert len(records.open_source("pets:train", tmp_path)) == 2


def test_what_was_recognised_is_said_and_names_are_no_markup(voc_folder, tmp_path):
    xml = voc_folder / "Annotations" / "a.xml"
    xml.write_text(xml.read_text().replace("dog", "[bold]cat[/red]"))
    (voc_folder / "Annotations" / "b.xml").unlink()
    (voc_folder / "JPEGImages" / "b.jpg").unlink()
    result = run("--format=voc", f"--source={voc_folder}", "--name=voc", f"--data_dir={tmp_path}")
    assert result.returncode == 0, result.stderr
    assert "[bold]cat[/red]" in result.stdout
    assert f"voc: read as JPEGImages and Annotations in {voc_folder}" in result.stderr
    assert "voc: no lists of splits: all 1 pictures are train" in result.stderr
    record = records.open_source("voc:train", tmp_path)[0]
    np.testing.assert_array_equal(record.boxes_in_pixels(), [(1, 1, 9, 9)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format=voc", "--name=pets"], "--format voc needs --source DIR"),
        (["--format=voc", "--name=pets", "--source=/nowhere"], "error: voc.VocFolder: expected"),
        (["--format=voc", "--name=pets", "--source=x", "--drop_others"], "needs --classes"),
        (["--format=shapes", "--name=shapes", "--object_size=0.1"], "--object_size"),
        (["--format=coco", "--name=pets", "--source=x", "--classes=a,a"], "every class once"),
    ],
)
def test_what_a_user_gets_wrong_is_said_in_a_line(arguments, message, tmp_path):
    result = run(*arguments, f"--data_dir={tmp_path}")
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
