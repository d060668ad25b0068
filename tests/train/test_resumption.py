"""What may change between a checkpoint and the command that goes on from it."""

import dataclasses
import json
import logging
import pathlib

import pytest

from ssd_jax import config
from ssd_jax.train import resumption

DATA = {"train": "a", "eval": "b"}
WORKDIR = pathlib.Path("runs/x")


def changed(experiment, name, value):
    group, field = name.split(".")
    part = dataclasses.replace(getattr(experiment, group), **{field: value})
    return dataclasses.replace(experiment, **{group: part})


OLD = changed(config.Experiment(), "data.train", "mine:train")


def check(new, data=DATA, old=OLD):
    notes = json.loads(json.dumps(resumption.notes(old, DATA, [])))
    resumption.check(notes, new, data, WORKDIR)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("optimizer.name", "adam", r"config\.optimizer\.name: 'sgd' -> 'adam'"),
        ("optimizer.clip_norm", 5.0, r"config\.optimizer\.clip_norm: 0\.0 -> 5\.0"),
        ("optimizer.frozen", ("backbone/*",), r"config\.optimizer\.frozen: \(\) -> \('backbone"),
        ("train.ema_decay", 0.99, r"config\.train\.ema_decay: 0\.0 -> 0\.99"),
        ("train.seed", 1, r"config\.train\.seed: 0 -> 1"),
        ("model.width", 0.5, r"another network; .* config\.model\.width: 1\.0 -> 0\.5"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line_with_the_remedy(name, value, said):
    with pytest.raises(ValueError, match=said) as raised:
        check(changed(OLD, name, value))
    text = str(raised.value)
    assert "\n" not in text
    assert len(text) < 400
    assert "another workdir" in text


@pytest.mark.parametrize(
    ("name", "value"),
    [("optimizer.learning_rate", 0.5), ("train.batch_size", 8), ("train.steps", 7)],
)
def test_what_fits_is_reported(name, value, caplog):
    with caplog.at_level(logging.WARNING):
        check(changed(OLD, name, value))
    assert f"Changed since this run began: config.{name}" in caplog.text


def test_another_strength_of_clipping_and_averaging_fits():
    on = changed(changed(OLD, "optimizer.clip_norm", 5.0), "train.ema_decay", 0.9)
    off = changed(changed(OLD, "optimizer.clip_norm", 9.0), "train.ema_decay", 0.99)
    check(off, old=on)


def test_other_data_under_the_same_name_are_refused():
    with pytest.raises(ValueError, match=r"config\.data\.train=mine:train.*prepared again"):
        check(OLD, {**DATA, "train": "c"})
    with pytest.raises(ValueError, match="Prepare them as they were"):
        check(OLD, {**DATA, "eval": "c"})


def test_the_same_data_may_have_another_name_and_evaluation_may_choose():
    check(changed(OLD, "data.train", "yours:train"))
    check(changed(OLD, "data.eval", "mine:other"), {**DATA, "eval": "c"})
    with pytest.raises(ValueError, match=r"config\.data\.train: 'mine:train' -> 'yours:train'"):
        check(changed(OLD, "data.train", "yours:train"), {**DATA, "train": "c"})
