import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssd_jax import config
from ssd_jax.schedules import Cosine, StepDecay
from ssd_jax.train import optimizer as optimizers

PARAMS = {
    "conv": {"kernel": jnp.array([2.0]), "bias": jnp.array([2.0])},
    "bn": {"scale": jnp.array([2.0]), "bias": jnp.array([2.0])},
    "conv4_3_norm": {"scale": jnp.array([2.0])},
}
ONES = jax.tree.map(jnp.ones_like, PARAMS)


def update(spec, count=1):
    rule = optimizers.update_rule(spec, total_steps=100)
    params, state = PARAMS, rule.init(PARAMS)
    for _ in range(count):
        updates, state = rule.update(ONES, state, params)
        params = optax.apply_updates(params, updates)
    return jax.tree.map(lambda new, old: float((new - old)[0]), params, PARAMS)


def test_one_step_of_the_released_rule():
    step = update(config.Optimizer(learning_rate=0.1, weight_decay=0.25))
    # Gradient 1, decay .25 * 2: kernels and L2Norm's scale move by -.1 * 1.5; a convolution's bias
    # by -.1 * 2 without decay; BatchNorm's parameters by -.1.
    assert step["conv"] == pytest.approx({"kernel": -0.15, "bias": -0.2})
    assert step["bn"] == pytest.approx({"scale": -0.1, "bias": -0.1})
    assert step["conv4_3_norm"] == pytest.approx({"scale": -0.15})


def test_momentum_adds_up():
    step = update(config.Optimizer(learning_rate=0.1, weight_decay=0.0, momentum=0.9), count=2)
    assert step["conv"]["kernel"] == pytest.approx(-0.1 * (1 + 1.9))


def test_clipping_scales_the_whole_gradient():
    spec = config.Optimizer(learning_rate=1.0, weight_decay=0.0, clip_norm=1.0)
    # Five gradients of 1 have the norm sqrt(5).
    assert update(spec)["conv"]["kernel"] == pytest.approx(-1 / np.sqrt(5))


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adam"])
def test_every_rule_goes_downhill(name):
    spec = config.Optimizer(name=name, learning_rate=0.01)
    assert all(x < 0 for x in jax.tree.leaves(update(spec, count=3)))


def test_steps_and_warm_up():
    spec = config.Optimizer(
        learning_rate=1.0, schedule=StepDecay((10, 20)), warmup_steps=4, warmup_fraction=0.2
    )
    rate = optimizers.learning_rate(spec, 30)
    # The warm-up rises from .2 by .2 a step; the drops are by 10 at the boundaries.
    expected = {0: 0.2, 2: 0.6, 4: 1.0, 9: 1.0, 10: 0.1, 19: 0.1, 20: 0.01}
    assert {step: float(rate(step)) for step in expected} == pytest.approx(expected)


def test_cosine_ends_at_zero():
    rate = optimizers.learning_rate(config.Optimizer(schedule=Cosine(), learning_rate=2.0), 10)
    assert [float(rate(s)) for s in (0, 5, 10)] == pytest.approx([2.0, 1.0, 0.0])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "sgdd"}, r"optimizer\.name: .*'sgd'.* got 'sgdd'"),
        ({"schedule": "poly"}, r"optimizer\.schedule: .* got 'poly'"),
        (
            {"schedule": {"name": "step", "boundaries": (20, 10)}},
            r"optimizer\.schedule\.boundaries: expected rising steps",
        ),
    ],
)
def test_mistakes_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        optimizers.update_rule(config.resolve({"optimizer": values}).optimizer, 100)


def test_a_large_batch_scales_the_rate_and_warms_up():
    spec = config.Optimizer(learning_rate=0.0025, reference_batch_size=32)
    large = optimizers.for_batch(spec, 1024)
    rate = optimizers.learning_rate(large, total_steps=1000)
    assert [float(rate(step)) for step in (0, 150, 300, 900)] == pytest.approx(
        [0.0, 0.04, 0.08, 0.08]
    )
    own = optimizers.for_batch(dataclasses.replace(spec, warmup_steps=10), 64)
    assert float(optimizers.learning_rate(own, 1000)(5)) == pytest.approx(0.0025)
    small = optimizers.learning_rate(optimizers.for_batch(spec, 8), 1000)
    assert float(small(0)) == pytest.approx(0.0025 / 4)
    assert optimizers.for_batch(config.Optimizer(), 1024) == config.Optimizer()
    with pytest.raises(ValueError, match="reference_batch_size: expected 0 or more images, got -1"):
        optimizers.for_batch(config.Optimizer(reference_batch_size=-1), 32)
