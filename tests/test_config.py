import dataclasses
import pathlib

import pytest

from ssd_jax import config


def test_defaults_resolve_to_the_schema_and_survive_a_file(tmp_path):
    experiment = config.resolve(config.defaults())
    assert experiment == config.Experiment()
    config.save(experiment, tmp_path / "config.json")
    assert config.load(tmp_path / "config.json") == experiment


def test_overrides_become_frozen_values():
    values = config.defaults()
    values.anchors.ratios = [[2], [2, 3]]
    values.anchors.first_scale = 0.1
    values.model.l2_norm = {}
    experiment = config.resolve(values)
    assert experiment.anchors.ratios == ((2.0,), (2.0, 3.0))
    assert experiment.anchors.first_scale == 0.1
    assert experiment.model.l2_norm == {}
    with pytest.raises(dataclasses.FrozenInstanceError):
        experiment.model.width = 2.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train": {"batch_sise": 3}}, r"config\.train\.batch_sise.*did you mean batch_size"),
        ({"trian": {}}, r"config\.trian: no such field; did you mean train"),
        ({"xyz": {}}, r"config\.xyz: no such field; the fields here are .*anchors.*model"),
        ({"train": {"batch_size": "3"}}, r"config\.train\.batch_size: expected int, got '3'"),
        ({"train": {"batch_size": True}}, r"batch_size: expected int, got True"),
        ({"train": {"batch_size": 2.5}}, r"batch_size: expected int, got 2\.5"),
        ({"model": {"cascade": 1}}, r"config\.model\.cascade: expected bool, got 1"),
        ({"model": {"image_size": [300]}}, r"image_size: expected tuple\[int, int\], got \[300\]"),
        ({"model": {"extras": [[1, 2, 3, 4, "5"]]}}, r"extras\[0\]\[4\]: expected int, got '5'"),
        ({"model": {"l2_norm": {"conv4_3": "x"}}}, r"l2_norm\.conv4_3: expected float"),
        ({"train": 3}, r"config\.train: expected a group of fields, got 3"),
    ],
)
def test_a_mistake_is_named_with_its_place(values, message):
    with pytest.raises(ValueError, match=message):
        config.resolve(values)


def test_a_missing_file_says_what_it_should_be(tmp_path):
    with pytest.raises(ValueError, match="workdir of a run"):
        config.load(tmp_path / "config.json")


def test_classes_come_from_the_data_and_may_not_contradict_the_config():
    names = ("dog", "cat")
    experiment = config.with_classes(config.Experiment(), names, "pets")
    assert experiment.model.num_classes == 3
    assert experiment.class_names == names
    assert config.with_classes(experiment, names, "pets") == experiment
    with pytest.raises(ValueError, match=r"class_names: .*'dog'.* but birds has \('owl',\)"):
        config.with_classes(experiment, ("owl",), "birds")
    voc = dataclasses.replace(config.Experiment(), model=config.Model(num_classes=21))
    with pytest.raises(ValueError, match=r"num_classes: 21, but pets has 2 classes.* are 3"):
        config.with_classes(voc, names, "pets")


def test_a_run_has_no_logits_that_are_no_class():
    imported = dataclasses.replace(config.Experiment(), decoder=config.Decoder(unreported=(3,)))
    with pytest.raises(ValueError, match=r"decoder\.unreported: \(3,\), but only imported"):
        config.with_classes(imported, ("dog", "cat"), "pets")


def test_differences_are_named_by_their_path():
    old = config.Experiment()
    new = dataclasses.replace(old, train=dataclasses.replace(old.train, steps=7))
    assert config.differences(old, old) == {}
    assert config.differences(old, new) == {"train.steps": (120_000, 7)}


@pytest.mark.parametrize("text", ['{"model": {"na', "", "\x00\x00"])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"config\.json is damaged: .*writes it again"):
        config.load(path)


def test_a_full_disk_leaves_the_old_config(tmp_path, monkeypatch):
    path = tmp_path / "config.json"
    config.save(config.Experiment(name="old"), path)

    def full(self, text):
        self.write_bytes(text[:9].encode())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_text", full)
    with pytest.raises(OSError, match=r"config\.json could not be written, and is as it was"):
        config.save(config.Experiment(name="new"), path)
    assert config.load(path).name == "old"
    assert list(tmp_path.iterdir()) == [path]
