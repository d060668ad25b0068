"""DSSD's stages: what is frozen stays, and each begins with the last one's weights."""

import jax
import jax.numpy as jnp
import numpy as np

from configs import dssd
from ssd_jax import config, detectors
from ssd_jax.checkpoints.folders import load_variables
from ssd_jax.models.vgg import VGG16
from ssd_jax.train import loop


def stage(tiny, name, init_from=""):
    """The tiny run, with DSSD's network in a stage of its own configs."""
    released = dssd.get_config(f"321,voc,{name}")
    tiny.model.freeze_batch_norm = released.model.freeze_batch_norm
    tiny.model.neck = released.model.neck
    tiny.model.heads.prediction_module = released.model.heads.prediction_module
    tiny.optimizer.frozen = released.optimizer.frozen
    tiny.init_partial = released.init_partial
    dssd.resnet(tiny)
    tiny.model.backbone = config.part(VGG16())  # compiles faster
    tiny.model.extras.sources = ("conv4_3", "fc7")
    tiny.model.extras.layers = ((256, 1024, 2, 2, 0),)  # maps 8, 4, 2
    tiny.model.width = 0.02
    tiny.model.added_momentum = 0.9
    tiny.train.steps = 5
    tiny.init_from = init_from
    return config.resolve(tiny)


def part(variables, prefixes, *, inside):
    def chosen(tree):
        return {k: v for k, v in tree.items() if k.startswith(prefixes) == inside}

    return {group: chosen(tree) for group, tree in variables.items()}


SSD_PART = ("backbone", "extra")


def test_each_stage_leaves_what_it_should(tiny, tmp_path):
    learned, experiments, previous = {}, {}, ""
    for name in dssd.STAGES:
        experiments[name] = stage(tiny, name, previous)
        previous = str(tmp_path / name)
        loop.train(experiments[name], tmp_path / name, devices=jax.devices()[:1])
        learned[name] = load_variables(tmp_path / name)

    # Stage 2 does not change the SSD part by a bit, and trains the rest.
    before, after = (part(learned[name], SSD_PART, inside=True) for name in ("ssd", "dssd"))
    assert set(before["params"]) == set(before["batch_stats"]) == {"backbone", "extra1"}
    jax.tree.map(np.testing.assert_array_equal, before, after)
    rest = part(learned["dssd"], SSD_PART, inside=False)
    fresh = jax.device_get(
        detectors.build(_with_classes(experiments["dssd"])).init(jax.random.key(0))
    )
    fresh = part(fresh, SSD_PART, inside=False)
    changed = jax.tree.map(lambda a, b: bool(np.any(a != b)), fresh, rest)
    assert all(any(jax.tree.leaves(x)) for x in changed["params"].values())
    assert all(any(jax.tree.leaves(x)) for x in changed["batch_stats"].values())

    # So without the deconvolution it detects what stage 1 did.
    without = {
        group: after[group] | part(learned["ssd"], SSD_PART, inside=False)[group] for group in after
    }
    detector = detectors.build(_with_classes(experiments["ssd"]))
    images = jnp.asarray(np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)), jnp.float32)

    @jax.jit
    def detect(variables):
        return detector.detect(detector.apply(variables, images, train=False)[0])

    found = detect(learned["ssd"])
    assert found.valid.any()
    jax.tree.map(np.testing.assert_array_equal, found, detect(without))

    # Stage 3 trains everything but BatchNorm.
    two, three = learned["dssd"], learned["finetune"]
    jax.tree.map(np.testing.assert_array_equal, two["batch_stats"], three["batch_stats"])
    layers = [x["params"]["backbone"]["conv1_1"] for x in (two, three)]
    jax.tree.map(np.testing.assert_array_equal, layers[0]["bn"], layers[1]["bn"])
    assert np.any(layers[0]["conv"]["kernel"] != layers[1]["conv"]["kernel"])


def _with_classes(experiment):
    return config.with_classes(experiment, tuple("abcdefghij"), "the test")
