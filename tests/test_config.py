import dataclasses
import json
import pathlib

import pytest

from ssd_jax import config
from ssd_jax.detectors.ssd import SSD
from ssd_jax.train.run import Run


def test_defaults_resolve_to_the_schema_and_survive_a_file(tmp_path):
    experiment = config.resolve(config.defaults())
    assert experiment == config.Experiment()
    config.save(experiment, tmp_path / "config.json")
    assert config.load(tmp_path / "config.json") == experiment


def test_overrides_become_frozen_values():
    values = config.defaults()
    values.anchors.ratios = [[2], [2, 3]]
    values.anchors.first_scale = 0.1
    values.model.extras.l2_norm = []
    experiment = config.resolve(values)
    assert experiment.anchors.ratios == ((2.0,), (2.0, 3.0))
    assert experiment.anchors.first_scale == 0.1
    assert experiment.model.extras.l2_norm == ()
    with pytest.raises(dataclasses.FrozenInstanceError):
        experiment.model.width = 2.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train": {"batch_sise": 3}}, r"config\.train\.batch_sise.*did you mean batch_size"),
        ({"trian": {}}, r"config\.trian: there is no such field; did you mean train"),
        ({"xyz": {}}, r"config\.xyz: there is no such field; the fields here are .*anchors.*model"),
        ({"train": {"batch_size": "3"}}, r"config\.train\.batch_size: expected int, got '3'"),
        ({"train": {"batch_size": True}}, r"batch_size: expected int, got True"),
        ({"train": {"batch_size": 2.5}}, r"batch_size: expected int, got 2\.5"),
        ({"model": {"batch_norm": 1}}, r"config\.model\.batch_norm: expected bool, got 1"),
        ({"model": {"cascade": True}}, r"config\.model\.cascade: .*'ssd' has no.*refinedet has it"),
        ({"model": {"image_size": [300]}}, r"image_size: expected tuple\[int, int\], got \[300\]"),
        (
            {"model": {"extras": {"layers": [[1, 2, 3, 4, "5"]]}}},
            r"extras\.layers\[0\]\[4\]: expected int, got '5'",
        ),
        ({"model": {"extras": {"l2_norm": ["x"]}}}, r"l2_norm\[0\]: expected float"),
        ({"train": 3}, r"config\.train: expected a group of fields, got 3"),
    ],
)
def test_a_mistake_is_named_with_its_place(values, message):
    with pytest.raises(ValueError, match=message):
        config.resolve(values)


def test_a_missing_file_says_what_it_should_be(tmp_path):
    with pytest.raises(ValueError, match="workdir of a run"):
        config.load(tmp_path / "config.json")


@pytest.mark.parametrize(("number", "said"), [(None, "no format number"), (1, "format 1")])
def test_a_config_of_another_format_is_refused(tmp_path, number, said):
    path = tmp_path / "config.json"
    config.save(config.Experiment(), path)
    values = json.loads(path.read_text())
    assert values.pop("format") == config.FORMAT
    path.write_text(json.dumps(values if number is None else {"format": number, **values}))
    with pytest.raises(ValueError, match=rf"config\.json: .*{said}.* reads format 2"):
        config.load(path)


def test_classes_come_from_the_data_and_may_not_contradict_the_config():
    names = ("dog", "cat")
    experiment = config.with_classes(config.Experiment(), names, "pets")
    assert experiment.model.num_classes == 3
    assert experiment.class_names == names
    assert config.with_classes(experiment, names, "pets") == experiment
    with pytest.raises(ValueError, match=r"class_names: .*'dog'.* but birds has \('owl',\)"):
        config.with_classes(experiment, ("owl",), "birds")
    voc = dataclasses.replace(config.Experiment(), model=SSD(num_classes=21))
    with pytest.raises(ValueError, match=r"num_classes: 21, but pets has 2 classes.* are 3"):
        config.with_classes(voc, names, "pets")


def test_only_a_run_has_no_logits_that_are_no_class():
    decoder = config.Decoder(unreported=(3,))
    imported = dataclasses.replace(
        config.Experiment(), decoder=decoder, model=SSD(num_classes=4), class_names=("dog", "cat")
    )
    assert config.with_classes(imported, ("dog", "cat"), "pets") == imported
    with pytest.raises(ValueError, match=r"decoder\.unreported: \(3,\), but only imported"):
        Run.from_experiment(imported)


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
