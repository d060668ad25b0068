import io
import os

import numpy as np
import pytest
from PIL import Image

from ssd_jax.data import preparation, records
from ssd_jax.data.examples import Problems
from ssd_jax.data.folder_scenes import FolderScenes

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


def write(folder, count=3, size=(32, 32)):
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", size, colour).save(folder / name / f"{i}.png")


@pytest.fixture
def source(tmp_path):
    for split in ("train", "test"):
        write(tmp_path / "pictures" / split)
    return tmp_path / "pictures"


def all_examples(dataset, split="train"):
    problems = Problems()
    return list(dataset.examples(split, problems)), list(problems)


def decode(example):
    return np.asarray(Image.open(io.BytesIO(example.image)).convert("RGB"), np.float32)


def iou(a, b):
    inner = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0).prod()
    return inner / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inner)


def test_boxes_hold_the_pictures_of_their_class(source):
    dataset = FolderScenes(source, num_train=20, num_val=2, max_overlap=0.0)
    assert dataset.class_names == ("blue", "green", "red")
    scenes, problems = all_examples(dataset)
    assert not problems
    assert len(scenes) == 20
    seen = set()
    for scene in scenes:
        assert (scene.height, scene.width) == (224, 224)
        assert 1 <= len(scene.labels) <= 5
        pixels = decode(scene)
        for box, label in zip(scene.boxes_xyxy * 224, scene.labels, strict=True):
            np.testing.assert_allclose(box[2:] - box[:2], 64, atol=1e-6)
            x0, y0, x1, y1 = np.round(box).astype(int)
            inside = pixels[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4].mean(axis=(0, 1))
            expected = list(COLOURS.values())[label]
            np.testing.assert_allclose(inside, expected, atol=12)
            seen.add(int(label))
    assert seen == {0, 1, 2}


def test_overlap_is_bounded_and_reached(source):
    dataset = FolderScenes(
        source, num_train=60, image_size=96, object_size=(0.3, 0.6), max_overlap=0.2
    )
    scenes, _ = all_examples(dataset)
    overlaps = [
        iou(a, b)
        for scene in scenes
        for i, a in enumerate(scene.boxes_xyxy)
        for b in scene.boxes_xyxy[:i]
    ]
    assert max(overlaps) <= 0.2 + 1e-9
    assert max(overlaps) > 0.1
    longer = np.concatenate([s.boxes_xyxy[:, 2] - s.boxes_xyxy[:, 0] for s in scenes])
    assert 0.29 <= longer.min() < 0.4
    assert 0.5 < longer.max() <= 0.61


def test_a_scene_depends_on_its_seed_and_number_alone(source):
    def images(**options):
        scenes, _ = all_examples(FolderScenes(source, num_train=4, **options))
        return [scene.image for scene in scenes]

    assert images() == images()
    assert len({*images(), *images(seed=1)}) == 8
    longer, _ = all_examples(FolderScenes(source, num_train=6))
    assert [scene.image for scene in longer[:4]] == images()


def test_a_folder_without_splits_keeps_every_fifth_picture_for_val(tmp_path):
    write(tmp_path, count=5)
    dataset = FolderScenes(tmp_path, num_train=2, num_val=2)
    where = {split: {p.where for p in dataset._pictures[split]} for split in ("train", "val")}
    assert len(where["train"]) == 12
    assert len(where["val"]) == 3
    assert not where["train"] & where["val"]


def test_some_of_the_classes_in_another_order(source):
    dataset = FolderScenes(source, class_names=("red", "blue"), num_train=30, max_overlap=0.0)
    scenes, _ = all_examples(dataset)
    for scene in scenes:
        pixels = decode(scene)
        for box, label in zip(scene.boxes_xyxy * 224, scene.labels, strict=True):
            x, y = ((box[:2] + box[2:]) / 2).astype(int)
            assert pixels[y, x].argmax() == (0 if label == 0 else 2)


def test_a_broken_picture_is_named_once_and_the_scene_goes_on(source, tmp_path):
    for i in range(3):
        (source / "train" / "red" / f"{i}.png").write_bytes(b"no picture")
    scenes, problems = all_examples(FolderScenes(source, num_train=20))
    assert len(scenes) == 20
    assert 1 <= len(problems) <= 3
    assert all("red" in str(p) for p in problems)
    assert 2 not in np.concatenate([scene.labels for scene in scenes])
    dataset = FolderScenes(source, num_train=20, num_val=2)
    with pytest.raises(preparation.BadData):
        preparation.prepare(dataset, name="scenes", data_dir=tmp_path)
    preparation.prepare(dataset, name="scenes", data_dir=tmp_path, on_error="skip")
    assert len(records.open_source("scenes:train", tmp_path)) == 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_names": ("red", "pink")}, "pink"),
        ({"object_size": (0.5, 0.2)}, "smallest"),
        ({"max_overlap": 1.5}, "max_overlap"),
    ],
)
def test_mistakes_are_named(source, options, message):
    with pytest.raises(ValueError, match=message):
        FolderScenes(source, **options)


def test_splits_are_no_classes(tmp_path):
    write(tmp_path / "train")
    with pytest.raises(ValueError, match="expected a folder for every class, or train and one of"):
        FolderScenes(tmp_path)
    write(tmp_path / "Valid")
    dataset = FolderScenes(tmp_path)
    assert dataset.class_names == ("blue", "green", "red")
    assert dataset.notes == [
        f"3 classes; train from {tmp_path / 'train'}, val from {tmp_path / 'Valid'}"
    ]
    (tmp_path / "Valid" / "pink").mkdir()
    with pytest.raises(ValueError, match="got pink"):
        FolderScenes(tmp_path)


def test_what_systems_leave_behind(tmp_path):
    write(tmp_path, count=2)
    (tmp_path / ".thumbs").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "red" / "._0.png").write_bytes(b"\0")
    (tmp_path / "red" / "1.png").unlink()
    os.mkfifo(tmp_path / "red" / "1.png")
    dataset = FolderScenes(tmp_path, num_val=20)
    assert dataset.class_names == ("blue", "green", "red")
    _, problems = all_examples(dataset, "val")
    assert [str(p).partition(": ")[2] for p in problems] == ["expected a regular file, got a FIFO"]


def test_a_class_called_background(tmp_path):
    write(tmp_path)
    (tmp_path / "Background").mkdir()
    with pytest.raises(ValueError, match="label 0 of every detector"):
        FolderScenes(tmp_path)


def test_a_folder_without_classes(tmp_path):
    with pytest.raises(ValueError, match="a folder for every class"):
        FolderScenes(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no pictures for train, val"):
        FolderScenes(tmp_path)
