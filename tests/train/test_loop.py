import dataclasses
import json
import os
import signal

import jax
import numpy as np
import pytest

from ssd_jax import config
from ssd_jax.checkpoints.folders import load_variables
from ssd_jax.data import pipeline
from ssd_jax.train import loop
from ssd_jax.train.metrics import last_step
from ssd_jax.train.report import NonFiniteLossError


@pytest.fixture
def experiment(tiny):
    return config.resolve(tiny)


def train(experiment, workdir):
    return loop.train(experiment, workdir, devices=jax.devices()[:1])


def after_batches(monkeypatch, count, action):
    """Makes a run do something when it asks for its batch number `count`, the first being 1."""
    following = pipeline.BatchIterator.__next__
    calls = []

    def next_batch(self):
        calls.append(None)
        if len(calls) == count:
            action()
        return following(self)

    monkeypatch.setattr(pipeline.BatchIterator, "__next__", next_batch)


def assert_same_variables(workdir, other):
    jax.tree.map(np.testing.assert_array_equal, load_variables(workdir), load_variables(other))


@pytest.mark.parametrize("stop_at", [1, 3])
def test_a_stopped_run_ends_bit_for_bit_like_one_that_was_not(
    experiment, tmp_path, monkeypatch, stop_at
):
    assert train(experiment, tmp_path / "whole").finished
    with monkeypatch.context() as patch:
        after_batches(patch, stop_at, lambda: os.kill(os.getpid(), signal.SIGTERM))
        result = train(experiment, tmp_path / "stopped")
    assert result == (stop_at, False, None)
    assert train(experiment, tmp_path / "stopped").finished
    assert_same_variables(tmp_path / "whole", tmp_path / "stopped")
    lines = [(tmp_path / w / "metrics.jsonl").read_text() for w in ("whole", "stopped")]
    totals = [[json.loads(x).get("total") for x in text.splitlines()] for text in lines]
    assert totals[0] == totals[1]


def test_a_killed_run_goes_on_from_its_last_checkpoint(experiment, tmp_path, monkeypatch):
    experiment = dataclasses.replace(
        experiment, train=dataclasses.replace(experiment.train, checkpoint_every=2)
    )

    def killed():
        raise MemoryError("killed")

    with monkeypatch.context() as patch:
        after_batches(patch, 4, killed)
        with pytest.raises(MemoryError):
            train(experiment, tmp_path / "killed")
    assert train(experiment, tmp_path / "killed").finished
    assert train(experiment, tmp_path / "whole").finished
    assert_same_variables(tmp_path / "whole", tmp_path / "killed")


def test_a_run_killed_in_its_last_evaluation_is_evaluated_by_the_next_call(
    experiment, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_evaluate", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(experiment, tmp_path)
    assert not (tmp_path / "evaluation").exists()
    result = train(experiment, tmp_path)
    assert result.finished
    written = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert result.metrics["mAP"] == written["mAP"]
    assert last_step(tmp_path / "metrics.jsonl", "evaluation") == experiment.train.steps
    # And not once more.
    assert train(experiment, tmp_path).metrics is None


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_images(experiment, tmp_path):
    hot = dataclasses.replace(experiment.optimizer, learning_rate=1e30, warmup_steps=0)
    train_spec = dataclasses.replace(experiment.train, checkpoint_every=1)
    broken = dataclasses.replace(experiment, optimizer=hot, train=train_spec)
    with pytest.raises(NonFiniteLossError, match=r"step 2: .*localization.*batch: .*train.*"):
        train(broken, tmp_path)
    saved = load_variables(tmp_path, which="1")
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(saved))
    assert not (tmp_path / "checkpoints" / "2").exists()


def test_what_a_run_leaves_behind(experiment, tmp_path):
    result = train(experiment, tmp_path)
    assert result.finished
    assert result.metrics["num_images"] == 10
    saved = config.load(tmp_path / config.FILE)
    assert len(saved.class_names) == 10
    assert saved.model.num_classes == 11
    assert {p.name for p in tmp_path.iterdir()} == {
        "best",
        "checkpoints",
        "config.json",
        "evaluation",
        "metrics.jsonl",
        "pictures",
        "tensorboard",
    }
    assert (tmp_path / "best" / "4").is_dir()
    written = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert written["mAP"] == result.metrics["mAP"]
    assert list((tmp_path / "pictures").glob("validation_*4.png"))
    groups = [json.loads(x)["group"] for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert groups == ["train"] * 4 + ["evaluation"]


def test_a_workdir_of_another_network_is_refused(experiment, tmp_path):
    train(
        dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, eval="")),
        tmp_path,
    )
    wider = dataclasses.replace(experiment.model, width=0.1)
    with pytest.raises(ValueError, match=r"config\.model\.width: 0\.02 -> 0\.1"):
        train(dataclasses.replace(experiment, model=wider), tmp_path)


def test_a_batch_that_does_not_divide_over_the_devices_is_refused(experiment, tmp_path):
    odd = dataclasses.replace(experiment.train, batch_size=12)
    with pytest.raises(ValueError, match=r"12 images do not divide over 8 devices.* is (8|16)"):
        loop.train(dataclasses.replace(experiment, train=odd), tmp_path)


def test_a_workdir_of_another_version_is_refused_with_the_sentence(experiment, tmp_path):
    (tmp_path / "checkpoints" / "2").mkdir(parents=True)
    old = '{"name": "of before format numbers"}'
    (tmp_path / config.FILE).write_text(old)
    with pytest.raises(ValueError, match=r"config\.json: this config has no format number"):
        train(experiment, tmp_path)
    assert (tmp_path / config.FILE).read_text() == old
