"""The commands as a user types them, one after the other on one tiny run."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys

import caffe_nets
import numpy as np
import pytest
from PIL import Image
from typed import ROOT, command

from launch import cli
from ssd_jax.detectors.anchors import experiment_spec

TINY = [
    "--config=configs/quickstart.py",
    "--config.model.image_size=(64, 64)",
    "--config.model.width=0.02",
    "--config.data.canvas=(64, 64)",
    "--config.train.batch_size=4",
    "--config.train.steps=2",
    "--config.train.eval_every=0",
    "--config.evaluate.batch_size=5",
]


@pytest.fixture(scope="module")
def run(shapes_dir, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    tiny = [*TINY, f"--config.data.data_dir={shapes_dir}", f"--workdir={workdir}"]
    return workdir, tiny, command("train", *tiny)


def test_train(run):
    workdir, _, result = run
    assert result.returncode == 0, result.stderr
    assert "step 2/2" in result.stderr
    assert str(workdir) in result.stderr
    assert (workdir / "checkpoints" / "2").is_dir()


def test_train_again_has_nothing_left_to_do(run):
    _, tiny, _ = run
    result = command("train", *tiny)
    assert result.returncode == 0, result.stderr
    assert "Resumed at step 2 of 2" in result.stderr


def test_evaluate(run, tmp_path):
    workdir, _, _ = run
    output = tmp_path / "metrics.json"
    result = command("evaluate", f"--workdir={workdir}", f"--output={output}")
    assert result.returncode == 0, result.stderr
    assert "triangle" in result.stdout
    metrics = json.loads(output.read_text())
    names = ("mAP", "mAP_area", "AP", "AP50", "AP75", "APs", "APm", "APl", "per_class", "seconds")
    assert set(names) <= set(metrics)
    assert metrics["num_images"] == 10
    assert (workdir / "evaluation" / "precision_recall.png").is_file()


def test_evaluate_another_split_and_a_missing_checkpoint(run):
    workdir, _, _ = run
    result = command("evaluate", f"--workdir={workdir}", "--split=shapes:nothing")
    assert result.returncode == 1
    assert "nothing" in result.stderr
    assert "train" in result.stderr
    assert "Traceback" not in result.stderr
    result = command("evaluate", f"--workdir={workdir}", "--checkpoint=77")
    assert result.returncode == 1
    assert "no checkpoint '77'" in result.stderr


def test_predict_does_what_it_can(run, tmp_path):
    workdir, _, _ = run
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (90, 50, 3), np.uint8)).save(folder / "colour.jpg")
    Image.fromarray(rng.integers(0, 256, (30, 200), np.uint8)).save(folder / "grey.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not asked for")
    result = command(
        "predict",
        f"--workdir={workdir}",
        "--input",
        str(folder),
        str(folder / "grey.png"),
        f"--output={tmp_path / 'out'}",
        "--min_score=0.01",
    )
    assert result.returncode == 1, result.stderr
    assert "broken.jpg" in result.stderr
    assert "1 of 3 files could not be read" in result.stderr
    assert "Traceback" not in result.stderr
    out = {p.name for p in (tmp_path / "out").iterdir()}
    assert out == {"colour.png", "grey.png", "detections.json"}
    with Image.open(tmp_path / "out" / "grey.png") as drawn:
        assert drawn.size == (200, 30)
    for row in json.loads((tmp_path / "out" / "detections.json").read_text()):
        x, y, w, h = row["bbox"]
        width, height = (50, 90) if row["image_id"] == "colour" else (200, 30)
        assert x >= 0
        assert y >= 0
        assert x + w <= width + 1e-3
        assert y + h <= height + 1e-3


def predict(workdir, output, *arguments):
    return command("predict", f"--workdir={workdir}", f"--output={output}", *map(str, arguments))


@pytest.fixture
def pictures(tmp_path):
    """A folder of pictures in folders, some by a name that others have, and two that are none."""
    folder = tmp_path / "pictures"
    rng = np.random.default_rng(0)
    for name in ("000000000139.jpg", "a/x.png", "b/x.png", "7.png", "007.png"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(path)
    os.mkfifo(folder / "fifo.jpg")
    (folder / "gone.jpg").symlink_to("nowhere")
    return folder


def test_predict_writes_over_nothing_and_does_each_picture_once(run, pictures, tmp_path):
    workdir, _, _ = run
    before = {path: path.read_bytes() for path in pictures.rglob("*.*g") if path.is_file()}
    for output in (pictures, pictures / "a"):
        result = predict(workdir, output, "--input", pictures)
        assert result.returncode == 1
        assert f"--output: {output} is not empty" in result.stderr
        assert "Traceback" not in result.stderr

    (tmp_path / "link").symlink_to(pictures)
    twice = [
        "--input",
        pictures,
        os.path.relpath(pictures, ROOT),
        tmp_path / "link",
        pictures / "a",
    ]
    output = tmp_path / "new" / "out"
    result = predict(workdir, output, *twice)
    assert result.returncode == 1
    assert "5 pictures and detections.json are in" in result.stdout
    assert f"cannot read {pictures / 'fifo.jpg'}: expected a file, got a FIFO" in result.stderr
    assert "gone.jpg" in result.stderr
    assert "2 of 7 files could not be read" in result.stderr
    assert "Traceback" not in result.stderr
    drawn = {"000000000139.png", "a_x.png.png", "b_x.png.png", "7.png", "007.png"}
    assert {path.name for path in output.iterdir()} == {*drawn, "detections.json"}
    ids = {row["image_id"] for row in json.loads((output / "detections.json").read_text())}
    assert ids == {139, "a_x.png", "b_x.png", 7, "007"}
    written = {path: path.read_bytes() for path in output.iterdir()}

    assert predict(workdir, output, "--input", pictures / "7.png").returncode == 1
    assert {path: path.read_bytes() for path in output.iterdir()} == written
    assert {path: path.read_bytes() for path in before} == before


def test_predict_stopped_late_keeps_what_it_found(run, pictures, tmp_path):
    """A disk that is full, here a limit on the size of a file."""
    workdir, _, _ = run
    rng = np.random.default_rng(0)
    large = rng.integers(0, 256, (700, 700, 3), np.uint8)  # 1.5 MB as a PNG
    Image.fromarray(large).save(pictures / "z.bmp")
    code = (
        "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6)); "
        "runpy.run_module('launch.predict', run_name='__main__')"
    )
    arguments = [f"--workdir={workdir}", f"--output={tmp_path / 'out'}", "--compilation_cache="]
    inputs = ["--batch_size=1", "--input", pictures / "7.png", pictures / "z.bmp"]
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments, *inputs],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 1
    assert "stopped after 1 of 2 pictures" in result.stderr
    assert "z.png" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"7.png", "detections.json"}
    rows = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert {row["image_id"] for row in rows} == {7, "z"}


def test_a_picture_too_large_for_its_limit_is_left_out(run, pictures, tmp_path):
    workdir, _, _ = run
    Image.fromarray(np.zeros((300, 300, 3), np.uint8)).save(pictures / "z.png")
    inputs = ["--input", pictures / "7.png", pictures / "z.png"]
    result = predict(workdir, tmp_path / "a", "--max_picture_mib=1", *inputs)
    assert result.returncode == 1
    assert "z.png: its header promises 90000 pixels" in result.stderr


def test_coco_tools_read_what_predict_writes(run, shared, tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    [file] = (shared / "data" / "coco_mini").rglob("instances_*.json")
    content = json.loads(file.read_text())
    table = coco.COCO()
    table.dataset = content
    table.createIndex()

    # As if the run had learned ten of COCO's classes.
    workdir = tmp_path / "run"
    shutil.copytree(run[0], workdir)
    saved = json.loads((workdir / "config.json").read_text())
    assert saved["category_ids"] == list(range(1, 11))
    wanted = (3, 13, 17, 27, 31, 44, 62, 70, 84, 90)
    (workdir / "config.json").write_text(json.dumps({**saved, "category_ids": wanted}))
    paths = [
        next((shared / "data" / "coco_mini").rglob(image["file_name"]))
        for image in content["images"][:6]
    ]
    result = predict(workdir, tmp_path / "out", "--input", *paths)
    assert result.returncode == 0, result.stderr
    loaded = table.loadRes(str(tmp_path / "out" / "detections.json"))
    ids = {image["id"] for image in content["images"][:6]}
    assert {annotation["image_id"] for annotation in loaded.dataset["annotations"]} == ids
    assert {annotation["category_id"] for annotation in loaded.dataset["annotations"]} <= {*wanted}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config=configs/ssd.py:small,birds"], "'small,birds'"),
        (["--config=configs/none.py"], "configs/none.py"),
        (["--config=configs/quickstart.py", "--config.train.batch_sise=3"], 'mean "batch_size"'),
        (["--config=configs/quickstart.py", "--config.data.train=nowhere:train"], "nowhere"),
        (["--config=configs/quickstart.py", "--config.train.batch_size=0"], "batch_size"),
    ],
)
def test_a_mistake_is_a_message_and_not_a_traceback(tmp_path, shapes_dir, arguments, message):
    config_dir = [] if "none" in arguments[0] else [f"--config.data.data_dir={shapes_dir}"]
    result = command("train", f"--workdir={tmp_path / 'run'}", *arguments, *config_dir)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_benchmark_and_a_peer_that_is_absent(shapes_dir, tmp_path):
    output = tmp_path / "results.json"
    result = command(
        "benchmark",
        *TINY,
        f"--config.data.data_dir={shapes_dir}",
        "--suite=ops,train,infer,data",
        "--batch_size=2",
        "--repeats=1",
        "--peer=torchvision",
        f"--output={output}",
    )
    assert result.returncode == 0, result.stderr
    figures = json.loads(output.read_text())
    names = [timing["name"] for timing in figures["timings"]]
    assert {"augmentation", "decode, NMS", "inference", "training step", "loader"} <= set(names)
    assert all(t["least"] <= t["median"] <= t["most"] for t in figures["timings"])
    if importlib.util.find_spec("torchvision") is None:
        assert "--peer torchvision is left out" in result.stderr
    else:
        assert any(name.startswith("torchvision") for name in names)


def test_compare_puts_runs_side_by_side(run):
    workdir, _, _ = run
    result = command("compare", str(workdir), "--per_class")
    assert result.returncode == 0, result.stderr
    assert "quickstart" in result.stdout
    assert "triangle" in result.stdout
    assert "name the workdirs" in command("compare").stderr


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # of ml_collections
def test_boxes_are_clustered(shapes_dir, tmp_path):
    result = command(
        "anchors",
        "--config=configs/quickstart.py",
        f"--config.data.data_dir={shapes_dir}",
        "--data=shapes:train",
        "--data=shapes:val",
        "--kmeans",
        "--clusters=3",
        f"--output={tmp_path}",
    )
    assert result.returncode == 0, result.stderr
    assert "boxes of shapes:train, shapes:val on 128 x 128" in result.stdout.replace("\n", " ")
    assert (tmp_path / "clusters.png").stat().st_size > 10_000
    assert "quickstart, proposed" in result.stdout
    proposed = cli.read_config(f"configs/quickstart.py --flagfile={tmp_path / 'proposal.flags'}")
    assert len(proposed.anchors.min_sizes) == 4
    assert experiment_spec(proposed).num_anchors == 680


def test_anchors_of_two_configs_on_two_data_sets(shapes_dir, tmp_path):
    boxes = tmp_path / "boxes.json"
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 200, "height": 100}],
        "categories": [{"id": 3, "name": "ship"}],
        "annotations": [{"image_id": 1, "category_id": 3, "bbox": [20, 10, 100, 50]}],
    }
    boxes.write_text(json.dumps(content))
    result = command(
        "anchors",
        "--config=configs/quickstart.py",
        f"--config.data.data_dir={shapes_dir}",
        "--compare=configs/quickstart.py --config.anchors.s_min=.1",
        "--data=scenes=shapes:train,shapes:val",
        f"--data=file={boxes}",
        "--pictures=2",
        f"--output={tmp_path / 'out'}",
    )
    assert result.returncode == 0, result.stderr
    assert "file: 1 objects of 1 images" in result.stdout
    found = json.loads((tmp_path / "out" / "coverage.json").read_text())
    pairs = [(one["config"], one["data"]) for one in found]
    assert pairs == [
        ("quickstart", "scenes"),
        ("quickstart (anchors.s_min)", "scenes"),
        ("quickstart", "file"),
        ("quickstart (anchors.s_min)", "file"),
    ]
    assert found[0]["images"] == 30
    assert found[0]["figures"]["best_iou"] != found[1]["figures"]["best_iou"]
    assert found[2]["figures"]["covered_small"] is None
    page = (tmp_path / "out" / "coverage.html").read_text()
    assert page.count("data:image/png;base64,") == 8
    assert "quickstart (anchors.s_min) on scenes" in page
    assert "http" not in page
    with Image.open(tmp_path / "out" / "anchors.png") as sheet:
        assert sheet.width > 100


def test_import_weights_and_predict_with_them(tmp_path):
    """Somebody's Caffe file of MobileNet-SSD, with random weights."""
    source = tmp_path / "MobileNetSSD_deploy.caffemodel"
    source.write_bytes(caffe_nets.mobilenet_ssd(21, deployed=True).caffemodel())
    output = tmp_path / "mobilenet_ssd.npz"
    imported = ["--model=mobilenet_ssd", f"--source={source}", f"--output={output}"]
    result = command("import_weights", *imported)
    assert result.returncode == 0, result.stderr
    assert "MobileNet-SSD of Caffe, deployed, 94 arrays used" in result.stderr
    assert "20 classes: aeroplane, bicycle" in result.stderr
    Image.fromarray(np.full((90, 120, 3), 99, np.uint8)).save(tmp_path / "x.png")
    picture = [f"--input={tmp_path / 'x.png'}", f"--output={tmp_path / 'out'}", "--batch_size=1"]
    result = command("predict", f"--weights={output}", *picture)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "x.png").is_file()

    for name, wrong, said in (
        ("import_weights", [*imported, "--classes=cat"], "scores 20 classes"),
        ("import_weights", ["--model=ssd300_voc", *imported[1:]], "these files are known"),
        ("predict", [f"--weights={source}", *picture], "cannot be read"),
        ("predict", picture, "workdir"),
    ):
        result = command(name, *wrong)
        assert result.returncode == 1
        assert said in result.stderr
        assert "Traceback" not in result.stderr
