"""Every file of configs/sweeps/ builds, and a trial of each takes a step on tiny networks."""

import importlib
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import configs
from ssd_jax import detectors
from ssd_jax.sweeps import plan as trials
from ssd_jax.types import Targets

FOLDER = pathlib.Path(configs.__file__).parent / "sweeps"
FILES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")

SMALL = {"config.model.image_size": (64, 64)}
# A trial of each, the config it runs on where it is not the sweep's own, and what makes it small.
RUNS = {
    "anchor_designs": ("ssd_anchors", "", {"config.model.image_size": (64, 64)}),
    "atrous": ("no_atrous", "", {}),
    "augmentation": ("flip", "configs/quickstart.py", SMALL),
    "deconvolution": ("neck=deconvolution,combination=sum", "configs/small_objects.py:pm", SMALL),
    "layers": ("conv7_alone_inside", "", {}),
    "objective": ("localization=l2", "", SMALL),
    "prediction_modules": ("prediction_module=d", "configs/small_objects.py:ssd_resnet", SMALL),
    "ratios": ("without_3_and_2", "", {}),
    "refinedet_parts": ("no_cascade", "configs/small_objects.py:refinedet", SMALL),
    "scales": ("s_min=0.06,s_max=0.5", "", SMALL),
}


def plan(name, base="", **overrides):
    sweep = trials.read(str(FOLDER / f"{name}.py"))
    file, _, variant = (base or sweep.config).partition(":")
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    values = module.get_config(variant) if variant else module.get_config()
    made = trials.plan(values.to_dict(), sweep, overrides)
    for trial in made.trials:
        trials.flags(trial, sweep, overrides)
    return made


def counts(name):
    made = plan(name).trials
    return {t.setting: detectors.anchor_spec(t.experiment).num_anchors for t in made if t.seed == 0}


def test_no_sweep_is_forgotten_here():
    assert sorted(RUNS) == FILES


def test_the_papers_numbers_of_anchors():
    published = (8732, 8764, 8942, 9864, 9025, 8664)  # SSD, table 3
    assert tuple(counts("layers").values()) == published * 2
    assert counts("atrous") == {"atrous": 8732, "no_atrous": 8732}
    # Of 1444 + 361 + 100 + 25 + 9 + 1 = 1940 cells: all but two ratios each on three maps less, and
    # two squares alone.
    without = {"all_ratios": 8732, "without_3": 4 * 1940, "without_3_and_2": 2 * 1940}
    assert counts("ratios") == without
    # 1600 + 400 + 100 + 25 cells of 3; of 4, 6, 6, 4; of 8.
    assert tuple(counts("anchor_designs").values()) == (6375, 9500, 17000)


def test_the_whole_networks_anchors_are_the_released_ones():
    whole = {t.setting: t for name in ("layers", "ratios") for t in plan(name).trials}
    [released] = [t for t in plan("atrous").trials if t.setting == "atrous"]
    expected = detectors.anchor_spec(released.experiment)
    for name in ("to_conv11_2", "all_ratios"):
        assert detectors.anchor_spec(whole[name].experiment) == expected


def test_the_scales_are_five_by_three_with_two_seeds():
    made = plan("scales").trials
    assert len(made) == 30
    assert len({t.setting for t in made}) == 15
    assert len(plan("objective").trials) == 16  # 10 settings, of which 3 are one; two seeds


@pytest.mark.parametrize("name", FILES)
def test_a_trial_runs(name):
    setting, base, small = RUNS[name]
    tiny = {"config.model.width": 0.02, "config.model.num_classes": 4}
    made = {t.setting: t for t in plan(name, base, **tiny, **small).trials}
    detector = detectors.build(made[setting].experiment)
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 256, (1, *detector.image_size, 3)), jnp.float32)
    targets = Targets(
        jnp.array([[[0.3, 0.2, 0.7, 0.8], [0.0, 0.0, 0.0, 0.0]]]),
        jnp.array([[2, 0]]),
        jnp.array([[True, False]]),
    )

    # Without the program that draws initial values, which takes longer to compile than the network.
    variables = jax.tree.map(
        lambda x: jnp.asarray(np.abs(rng.normal(0, 0.1, x.shape)), x.dtype),
        jax.eval_shape(detector.init, jax.random.key(0)),
    )

    @jax.jit
    def step(variables):
        def loss(params):
            predictions, _ = detector.apply(variables | {"params": params}, images, train=True)
            terms = detector.loss(predictions, targets)
            return terms.total, terms

        gradient, terms = jax.grad(loss, has_aux=True)(variables["params"])
        moved = jax.tree.map(lambda p, g: p - 1e-3 * g, variables["params"], gradient)
        return terms, moved

    terms, moved = step(variables)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((terms, moved)))
    assert float(terms.num_positives) >= 1
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), variables["params"], moved)
    assert any(jax.tree.leaves(changed))
