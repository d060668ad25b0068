import dataclasses
import json

import pytest

from ssd_jax import config
from ssd_jax.data import records
from ssd_jax.predict import Predictor
from ssd_jax.pretrained import released_classes
from ssd_jax.train import loop


class NoDetector:
    """Stands in for a detector that is not asked for anything."""

    image_size = (8, 8)


def category_ids(names, ids=()):
    experiment = dataclasses.replace(config.Experiment(), class_names=names, category_ids=ids)
    return Predictor(experiment, {}, detector=NoDetector()).category_ids


COCO = released_classes.names(81)


@pytest.mark.parametrize(
    ("names", "ids", "expected"),
    [
        (("cat", "dog"), (17, 18), (17, 18)),  # of the training data
        (("cat", "dog"), (), (1, 2)),
        (COCO, (), records.COCO_CATEGORY_IDS),
        (COCO[:79], (), tuple(range(1, 80))),
        (COCO, tuple(range(80)), tuple(range(80))),
        (released_classes.VOC, (), tuple(range(1, 21))),
    ],
)
def test_the_ids_of_the_classes(names, ids, expected):
    assert category_ids(names, ids) == expected


def test_cocos_numbers_go_with_its_names():
    pairs = dict(zip(category_ids(COCO), COCO, strict=True))
    # As published: instances_val2017.json
    assert (pairs[1], pairs[13], pairs[27], pairs[90]) == (
        "person",
        "stop sign",
        "backpack",
        "toothbrush",
    )


def test_a_run_saves_the_ids_of_its_data(tiny, tmp_path, monkeypatch):
    tiny.train.steps = 0
    init = records.Source.__init__

    def with_gaps(self, parts):
        init(self, parts)
        self.category_ids = tuple(range(7, 77, 7))

    monkeypatch.setattr(records.Source, "__init__", with_gaps)
    loop.train(config.resolve(tiny), tmp_path)
    saved = json.loads((tmp_path / config.FILE).read_text())
    assert saved["category_ids"] == list(range(7, 77, 7))
    assert config.load(tmp_path / config.FILE).category_ids == tuple(range(7, 77, 7))
