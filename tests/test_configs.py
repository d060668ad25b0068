"""Every file of configs/, in every variant, builds; and one step of each runs on tiny data."""

import importlib
import itertools
import pathlib

import jax
import numpy as np
import pytest

import configs
from configs import dssd, mobilenet_ssd, photographs, refinedet, small_objects, ssd
from ssd_jax import config, sharding
from ssd_jax.train.run import Run
from ssd_jax.types import Batch

VARIANTS = {
    "ssd": [",".join(pair) for pair in itertools.product(ssd.NETWORKS, ssd.DATA)],
    "mobilenet_ssd": [
        "practice",
        *map(",".join, itertools.product(mobilenet_ssd.NETWORKS, mobilenet_ssd.DATA)),
    ],
    "refinedet": [
        *map(",".join, itertools.product(refinedet.NETWORKS, refinedet.BACKBONES, ssd.DATA))
    ],
    "dssd": [*map(",".join, itertools.product(dssd.NETWORKS, dssd.DATA, dssd.STAGES))],
    "small_objects": list(small_objects.VARIANTS),
    "photographs": list(photographs.VARIANTS),
    "quickstart": [None],
}
ALL = [(name, variant) for name, variants in VARIANTS.items() for variant in variants]

# One for each network: data sets change nothing that a step would notice.
STEPS = [
    ("ssd", "300,voc"),
    ("ssd", "512,coco"),
    ("ssd", "small,bccd"),
    ("mobilenet_ssd", "300,voc"),
    ("mobilenet_ssd", "lite,voc"),
    ("mobilenet_ssd", "practice"),
    ("refinedet", "320,vgg16,voc"),
    ("refinedet", "320,resnet101,voc"),
    ("refinedet", "small,vgg16,bccd"),
    ("dssd", "321,voc,ssd"),
    ("small_objects", "no_cascade"),
    ("quickstart", None),
]


def load(name, variant):
    get_config = importlib.import_module(f"configs.{name}").get_config
    return get_config() if variant is None else get_config(variant)


def test_no_config_is_forgotten_here():
    files = {p.stem for p in pathlib.Path(configs.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == set(VARIANTS)


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_it_builds(name, variant):
    values = load(name, variant)
    values.model.num_classes = 21
    experiment = config.resolve(values)
    run = Run.from_experiment(experiment, jax.devices()[:1])
    assert run.optimizer
    assert run.augmentation
    assert experiment.data.train
    assert experiment.data.eval
    assert experiment.name
    assert len(run.detector.anchors) > 500


def test_a_wrong_variant_says_what_there_is():
    with pytest.raises(ValueError, match=r"'small'.*'bccd'.*got '301,voc'"):
        ssd.get_config("301,voc")


@pytest.mark.parametrize(("name", "variant"), STEPS)
def test_one_step(name, variant):
    values = load(name, variant)
    values.model.num_classes = 4
    values.model.width = 0.02
    values.train.batch_size = 1
    values.data.canvas = (40, 50)
    experiment = config.resolve(values)
    run = Run.from_experiment(experiment, jax.devices()[:1])
    state = run.init()
    before = jax.device_get(state.params)
    rng = np.random.default_rng(0)
    batch = Batch(
        index=np.array([3], np.int32),
        canvas=rng.integers(0, 256, (1, 40, 50, 3), np.uint8),
        size=np.array([[40, 50]], np.int32),
        boxes_xyxy=np.array([[[0.1, 0.2, 0.6, 0.9], [0, 0, 0, 0]]], np.float32),
        labels=np.array([[2, 0]], np.int32),
        valid=np.array([[True, False]]),
    )
    state, metrics = run.step(state, sharding.put_batch(run.mesh, batch), run.key)
    assert all(np.isfinite(x) for x in jax.tree.leaves(metrics))
    assert float(metrics.loss.num_positives) >= 1
    after = jax.device_get(state.params)
    changed = jax.tree.map(lambda a, b: not np.array_equal(a, b), before, after)
    # The object is matched on some map; the head there learns all that it has.
    heads = [name for name in changed if name.startswith("head")]
    assert any(jax.tree.all(changed[name]) for name in heads)
    assert any(jax.tree.leaves(changed["backbone"]))
    assert int(state.step) == 1
