import math

import numpy as np
import pytest
from scipy.stats import qmc

from ssd_jax import sweeps


def test_grid_is_every_combination_and_the_last_field_changes_fastest():
    assert sweeps.grid({"config.a": (1, 2), "config.b": ("x", "y")}) == [
        {"config.a": 1, "config.b": "x"},
        {"config.a": 1, "config.b": "y"},
        {"config.a": 2, "config.b": "x"},
        {"config.a": 2, "config.b": "y"},
    ]


def test_zipped_takes_values_together():
    assert sweeps.zipped({"config.a": (1, 2), "config.b": (3, 4)}) == [
        {"config.a": 1, "config.b": 3},
        {"config.a": 2, "config.b": 4},
    ]
    with pytest.raises(ValueError, match=r"zipped: .*\{'config.a': 1, 'config.b': 2\}"):
        sweeps.zipped({"config.a": (1,), "config.b": (3, 4)})


def test_product_joins_and_refuses_a_field_twice():
    joined = sweeps.product([{"config.a": 1}, {"config.a": 2}], sweeps.seeds(2))
    assert joined == [{"config.a": a, "config.train.seed": seed} for a in (1, 2) for seed in (0, 1)]
    with pytest.raises(ValueError, match=r"product: config\.train\.seed is set by two"):
        sweeps.product(sweeps.seeds(2), sweeps.seeds(3))


def test_named_settings():
    settings = {"plain": {}, "sharp": {"config.loss.alpha": 2.0}}
    assert sweeps.named(settings) == [
        {"config.name": "plain"},
        {"config.name": "sharp", "config.loss.alpha": 2.0},
    ]


def test_distributions_by_hand():
    assert sweeps.uniform(2, 6).at(0.25) == 3
    # Half of the way from 1e-4 to 1e-2 in orders of magnitude.
    assert sweeps.log_uniform(1e-4, 1e-2).at(0.5) == pytest.approx(1e-3)
    assert [sweeps.integers(2, 4).at(u) for u in (0, 0.3, 0.34, 0.99)] == [2, 2, 3, 4]
    assert [sweeps.choice("a", "b").at(u) for u in (0.49, 0.5)] == ["a", "b"]


FIELDS = {
    "config.optimizer.learning_rate": sweeps.log_uniform(1e-4, 1e-1),
    "config.loss.alpha": sweeps.uniform(0.0, 1.0),
}


@pytest.mark.parametrize("draw", [sweeps.random, sweeps.sobol])
def test_draws_are_the_same_for_a_seed_and_go_on_where_fewer_end(draw):
    few, many = draw(FIELDS, 5, seed=3), draw(FIELDS, 11, seed=3)
    assert len(few) == 5
    assert many[:5] == few
    assert draw(FIELDS, 5, seed=4) != few
    rates = [trial["config.optimizer.learning_rate"] for trial in many]
    assert all(1e-4 <= rate <= 1e-1 for rate in rates)
    assert len(set(rates)) == 11
    assert all(float(f"{rate:.4g}") == rate for rate in rates)


def points(trials):
    """The draws, on [0, 1]."""
    rows = [[math.log10(t["config.optimizer.learning_rate"]) / 3 + 4 / 3, t["config.loss.alpha"]]
            for t in trials]  # fmt: skip
    return np.clip(rows, 0, 1)


def test_sobol_is_more_even_than_random():
    for seed in range(3):
        even = qmc.discrepancy(points(sweeps.sobol(FIELDS, 32, seed=seed)))
        assert even < 0.5 * qmc.discrepancy(points(sweeps.random(FIELDS, 32, seed=seed)))


def test_sobol_halves_every_field_evenly():
    # Any 2^k first points, shifted, have 2^k / 2 in a half of the circle that is [0, 1): here the
    # half that begins at the shift, whose points are those below 1/2 before it.
    for n in (2, 8, 16):
        alphas = points(sweeps.sobol(FIELDS, n, seed=1))[:, 1]
        shift = np.random.default_rng(1).random(2)[1]
        assert (((alphas - shift + 1e-3) % 1) < 0.5).sum() == n // 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sweeps.grid({"config.name": "abc"}), "list of values of config.name, got 'abc'"),
        (lambda: sweeps.grid({"config.a": ()}), r"list of values of config.a, got \(\)"),
        (lambda: sweeps.seeds(0), "at least 1, got 0"),
        (lambda: sweeps.uniform(1, 1), "low < high"),
        (lambda: sweeps.log_uniform(0, 1), "0 < low < high, got 0, 1"),
        (lambda: sweeps.integers(3, 2), "low <= high"),
        (lambda: sweeps.choice(), "at least one value"),
        (lambda: sweeps.random({}, 3), "at least one field"),
        (lambda: sweeps.sobol(FIELDS, 0), "one draw"),
        (lambda: sweeps.random({"config.a": (1, 2)}, 3), r"uniform, .* for config.a, got \(1, 2\)"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
