import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssd_jax import config
from ssd_jax.train import freezing
from ssd_jax.train import optimizer as optimizers

PARAMS = {
    "backbone": {"conv1_1": {"conv": {"kernel": jnp.ones(4), "bias": -jnp.zeros(2)}}},
    "head1": {"logits": {"kernel": jnp.ones(3)}},
}


def test_patterns_are_of_whole_paths():
    mask = freezing.is_frozen(PARAMS, ("backbone/*",))
    assert jax.tree.leaves(mask["backbone"]) == [True, True]
    assert jax.tree.leaves(mask["head1"]) == [False]
    mask = freezing.is_frozen(PARAMS, ("*/kernel",))
    assert mask["backbone"]["conv1_1"]["conv"] == {"kernel": True, "bias": False}
    assert not any(jax.tree.leaves(freezing.is_frozen(PARAMS, ())))


def test_a_pattern_that_matches_nothing_is_an_error():
    with pytest.raises(ValueError, match=r"config\.optimizer\.frozen: conv1/\* matches no param"):
        freezing.is_frozen(PARAMS, ("backbone/*", "conv1/*"))


def test_frozen_parameters_cost_no_memory_and_get_no_update():
    spec = config.Optimizer(name="adam", frozen=("backbone/*",), clip_norm=1.0)
    rule = optimizers.update_rule(spec, 10)
    state = rule.init(PARAMS)
    # Adam's two moments of the three trained numbers, and counters.
    sizes = [x.size for x in jax.tree.leaves(state) if x.size > 1]
    assert sizes == [3, 3]
    gradients = jax.tree.map(jnp.ones_like, PARAMS)
    updates, _ = rule.update(gradients, state, PARAMS)
    assert not any(np.any(x) for x in jax.tree.leaves(updates["backbone"]))
    assert np.all(updates["head1"]["logits"]["kernel"])


def test_bits_are_kept():
    mask = freezing.is_frozen(PARAMS, ("backbone/*",))
    added = optax.apply_updates(PARAMS, jax.tree.map(jnp.zeros_like, PARAMS))
    kept = freezing.keep_frozen(mask, PARAMS, added)
    # Adding zero turns -0 into 0.
    assert np.signbit(PARAMS["backbone"]["conv1_1"]["conv"]["bias"]).all()
    assert np.signbit(kept["backbone"]["conv1_1"]["conv"]["bias"]).all()


def test_the_table_counts_both():
    table = freezing.summary(PARAMS, freezing.is_frozen(PARAMS, ("backbone/*",)))
    columns = [list(column.cells) for column in table.columns]
    assert columns == [
        ["backbone/conv1_1", "head1", "all"],
        ["", "3", "3"],
        ["6", "", "6"],
    ]


def test_a_config_takes_patterns(tiny):
    tiny.optimizer.frozen = ("backbone/*",)
    experiment = config.resolve(tiny)
    assert dataclasses.asdict(experiment.optimizer)["frozen"] == ("backbone/*",)
