"""DSSD's stages: what is frozen stays, and each begins with the last one's weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import dssd
from ssd_jax import config, detectors
from ssd_jax.train import loop
from ssd_jax.train.checkpoint import load_variables


def stage(tiny, name, init_from=""):
    """The tiny run, with DSSD's network in a stage of its own configs."""
    released = dssd.get_config(f"321,voc,{name}")
    for field in ("freeze_batch_norm", "deconvolution", "prediction_module"):
        tiny.model[field] = released.model[field]
    tiny.optimizer.frozen = released.optimizer.frozen
    dssd.resnet(tiny)
    tiny.model.backbone = "resnet50"
    tiny.model.sources = ("res3d", "res5c")
    tiny.model.extras = ((256, 1024, 2, 2, 0),)  # maps 8, 4, 2
    tiny.model.width = 0.02
    tiny.model.added_momentum = 0.9
    tiny.train.steps = 5
    tiny.init_from = init_from
    return config.resolve(tiny)


@pytest.fixture
def stages(tiny, tmp_path):
    first = stage(tiny, "ssd")
    loop.train(first, tmp_path / "ssd", devices=jax.devices()[:1])
    second = stage(tiny, "dssd", str(tmp_path / "ssd"))
    loop.train(second, tmp_path / "dssd", devices=jax.devices()[:1])
    return first, second


def part(variables, prefixes, *, inside):
    def chosen(tree):
        return {k: v for k, v in tree.items() if k.startswith(prefixes) == inside}

    return {group: chosen(tree) for group, tree in variables.items()}


SSD_PART = ("backbone", "extra")


def test_the_ssd_part_does_not_change_by_a_bit(stages, tmp_path):
    one, two = (load_variables(tmp_path / name) for name in ("ssd", "dssd"))
    before, after = (part(v, SSD_PART, inside=True) for v in (one, two))
    assert set(before["params"]) == set(before["batch_stats"]) == {"backbone", "extra1"}
    jax.tree.map(np.testing.assert_array_equal, before, after)
    # The rest was trained.
    fresh = jax.device_get(detectors.build(_with_classes(stages[1])).init(jax.random.key(0)))
    learned = part(two, SSD_PART, inside=False)
    changed = jax.tree.map(
        lambda a, b: bool(np.any(a != b)), part(fresh, SSD_PART, inside=False), learned
    )
    assert all(any(jax.tree.leaves(changed["params"][name])) for name in changed["params"])
    assert all(any(jax.tree.leaves(x)) for x in changed["batch_stats"].values())


def test_without_the_deconvolution_it_detects_what_stage_1_did(stages, tmp_path):
    one, two = (load_variables(tmp_path / name) for name in ("ssd", "dssd"))
    without = {
        group: part(two, SSD_PART, inside=True)[group] | part(one, SSD_PART, inside=False)[group]
        for group in ("params", "batch_stats")
    }
    detector = detectors.build(_with_classes(stages[0]))
    images = jnp.asarray(np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)), jnp.float32)

    @jax.jit
    def detect(variables):
        return detector.detect(detector.apply(variables, images, train=False)[0])

    found = detect(one)
    assert found.valid.any()
    jax.tree.map(np.testing.assert_array_equal, found, detect(without))


def test_the_last_stage_keeps_batch_norm(stages, tiny, tmp_path):
    third = stage(tiny, "finetune", str(tmp_path / "dssd"))
    loop.train(third, tmp_path / "finetune", devices=jax.devices()[:1])
    two, three = (load_variables(tmp_path / name) for name in ("dssd", "finetune"))
    jax.tree.map(np.testing.assert_array_equal, two["batch_stats"], three["batch_stats"])
    conv1 = [v["params"]["backbone"]["conv1"] for v in (two, three)]
    jax.tree.map(np.testing.assert_array_equal, conv1[0]["bn"], conv1[1]["bn"])
    assert np.any(conv1[0]["conv"]["kernel"] != conv1[1]["conv"]["kernel"])


def _with_classes(experiment):
    return config.with_classes(experiment, tuple("abcdefghij"), "the test")
