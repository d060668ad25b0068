"""A run that is resumed: what it makes up for, what it refuses, what it leaves alone."""

import dataclasses
import logging
import os
import shutil
import signal

import numpy as np
import pytest
import soak
from test_loop import after_batches, train

from ssd_jax import config
from ssd_jax.data import pipeline, preparation, records, shapes
from ssd_jax.train import loop


def change(experiment, **fields):
    for name, value in fields.items():
        group, field = name.split("__")
        part = dataclasses.replace(getattr(experiment, group), **{field: value})
        experiment = dataclasses.replace(experiment, **{group: part})
    return experiment


@pytest.fixture
def experiment(tiny):
    tiny.train.eval_every = 2
    tiny.train.checkpoint_every = 2
    tiny.train.num_pictures = 0
    tiny.train.log_every = 3
    return config.resolve(tiny)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Where the first test that asks for a finished run leaves it."""
    return tmp_path_factory.mktemp("trained") / "run"


@pytest.fixture
def finished(experiment, trained, tmp_path):
    """A copy of a finished run."""
    if not trained.exists():
        train(experiment, trained)
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def test_an_evaluation_that_a_signal_skipped_is_made_up_for(
    experiment, finished, tmp_path, monkeypatch
):
    stopped = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        after_batches(patch, 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert train(experiment, stopped) == (2, False, None)
    assert train(experiment, stopped).finished
    soak.assert_same(finished, stopped)


def test_an_evaluation_that_failed_is_made_up_for(experiment, finished, tmp_path, monkeypatch):
    stopped = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_evaluate", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(experiment, stopped)
    assert train(experiment, stopped).finished
    soak.assert_same(finished, stopped)


def test_a_best_that_was_not_written_is_made_up_for(experiment, finished, tmp_path, monkeypatch):
    stopped = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(loop.Checkpoints, "save_best", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(experiment, stopped)
    assert train(experiment, stopped).finished
    soak.assert_same(finished, stopped)


def test_after_a_damaged_checkpoint_the_run_ends_as_it_would_have(experiment, finished, caplog):
    whole = finished.with_name("whole")
    shutil.copytree(finished, whole)
    shutil.rmtree(finished / "checkpoints" / "4" / "progress")
    with caplog.at_level(logging.WARNING):
        assert train(experiment, finished).finished
    assert "checkpoints/4 is damaged: progress/" in caplog.text
    soak.assert_same(whole, finished)


@pytest.mark.parametrize(
    "fields",
    [
        {"optimizer__name": "adam"},
        {"optimizer__clip_norm": 0.0},
        {"optimizer__frozen": ("backbone/*",)},
        {"train__ema_decay": 0.9},
        {"train__seed": 5},
        {"train__steps": 2},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_refused_resume_leaves_everything_as_it_was(experiment, finished, fields, caplog):
    before = contents(finished)
    other = change(experiment, **{"train__steps": 6, **fields})
    if fields == {"train__steps": 2}:  # said, and no error
        assert train(other, finished) == (4, True, None)
        assert "this run has done 4 steps, and config.train.steps is 2" in caplog.text
    else:
        with pytest.raises(ValueError, match="another workdir"):
            train(other, finished)
    assert contents(finished) == before


def contents(folder):
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path: path.read_bytes() for path in files if path.name != ".lock"}


def test_other_data_under_the_same_name_are_refused(experiment, finished, tmp_path):
    scenes = shapes.ShapeScenes(num_train=20, num_val=10, image_size=64, max_objects=4, seed=9)
    preparation.prepare(scenes, name="shapes", data_dir=tmp_path / "data")
    other = change(experiment, data__data_dir=str(tmp_path / "data"), train__steps=6)
    with pytest.raises(ValueError, match="data are not those that the run began with"):
        train(other, finished)


def test_another_batch_size_goes_on(experiment, finished, caplog):
    with caplog.at_level(logging.WARNING):
        assert train(change(experiment, train__batch_size=4, train__steps=6), finished).finished
    assert "they go on with record 32 of the order" in caplog.text


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl"])
@pytest.mark.parametrize("tail", ["", '{"ste'])
def test_half_a_file_does_not_end_a_run_for_good(experiment, finished, name, tail, caplog):
    path = finished / name
    path.write_text((path.read_text() if name == "metrics.jsonl" else "") + tail)
    assert train(change(experiment, train__steps=6), finished).finished
    assert config.load(finished / config.FILE).train.steps == 6
    # Every line can be read, and the evaluation of every second step is there.
    rows = soak.lines(finished)
    assert [row["step"] for row in rows if row["group"] == "evaluation"] == [2, 4, 6]


def test_a_first_run_that_fails_blocks_nothing(experiment, tmp_path):
    (tmp_path / "no_weights.npz").write_bytes(b"x")
    broken = dataclasses.replace(experiment, init_from=str(tmp_path / "no_weights.npz"))
    workdir = tmp_path / "run"
    with pytest.raises(ValueError, match="no_weights"):
        train(broken, workdir)
    assert not (workdir / config.FILE).exists()
    config.save(change(experiment, model__width=0.3), workdir / config.FILE)  # older versions did
    short = change(experiment, train__steps=1, data__eval="")
    assert train(short, workdir).finished


def test_a_training_set_without_objects_is_refused(experiment, tmp_path, monkeypatch):
    record = records.Source.__getitem__

    def without_objects(self, index):
        found = record(self, index)
        return found._replace(
            **{
                name: getattr(found, name)[:0]
                for name in ("boxes_xyxy", "labels", "difficult", "crowd", "area")
            }
        )

    monkeypatch.setattr(records.Source, "__getitem__", without_objects)
    with pytest.raises(ValueError, match="none of the 20 records of shapes:train has an object"):
        train(experiment, tmp_path)
    assert not (tmp_path / config.FILE).exists()


def test_a_loss_of_0_is_said_once(experiment, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(loop, "_check_objects", lambda *args: None)
    small = change(experiment, train__log_every=1, data__eval="", loss__iou_threshold=1.0)
    monkeypatch.setattr(pipeline, "train_batches", _without_objects(pipeline))
    assert train(small, tmp_path).finished
    said = [x.message for x in caplog.records if "The loss of the last 1 steps is 0" in x.message]
    assert len(said) == 1


def _without_objects(pipeline):
    make = pipeline.train_batches

    def train_batches(*args, **kwargs):
        batches = make(*args, **kwargs)
        following = type(batches).__next__

        class Empty(type(batches)):
            def __next__(self):
                batch = following(self)
                return batch._replace(valid=np.zeros_like(batch.valid))

        batches.__class__ = Empty
        return batches

    return train_batches
