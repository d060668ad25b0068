import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ssd_jax.ops import mining

A = 20
RATIOS = (3.0, 1.5, 0.0, 0.3)

mine = jax.jit(mining.hard_negatives, static_argnames="ratio")
# Few values, so that the cut falls on ties; the two zeros, infinities and NaN are in the order too.
few_values = st.sampled_from([0.0, -0.0, 0.5, 1.0, 1.0000001, -1.0, -2.5, np.inf, -np.inf, np.nan])
losses = hnp.arrays(np.float32, A, elements=few_values) | hnp.arrays(
    np.float32, A, elements=st.floats(width=32, allow_nan=False, allow_subnormal=False)
)
masks = hnp.arrays(bool, A)


def mine_by_sorting(loss, positive, eligible, ratio):
    candidates = [i for i in range(len(loss)) if eligible[i] and not positive[i]]
    # NaN first, then the largest loss, then the lowest index.
    candidates.sort(key=lambda i: (0, 0, i) if np.isnan(loss[i]) else (1, -loss[i], i))
    wanted = int(np.floor(np.float32(ratio) * np.float32(positive.sum())))
    kept = np.zeros(len(loss), bool)
    kept[candidates[:wanted]] = True
    return kept


@settings(max_examples=200)
@given(losses, masks, masks, st.sampled_from(RATIOS))
@example(np.ones(A, np.float32), np.arange(A) < 3, np.arange(A) > 5, 3.0)
def test_equals_sorting(loss, positive, eligible, ratio):
    kept = np.asarray(mine(loss, positive, eligible, ratio=ratio))
    np.testing.assert_array_equal(kept, mine_by_sorting(loss, positive, eligible, ratio))
    allowed = eligible & ~positive
    wanted = int(np.floor(np.float32(ratio) * np.float32(positive.sum())))
    assert kept.sum() == min(wanted, allowed.sum())
    assert not (kept & ~allowed).any()


def test_by_hand():
    # One positive, so three of the four eligible: .9, .7 and the first of the two .5; the largest
    # loss of all is not eligible, and the positive's does not count.
    loss = np.float32([0.5, 0.9, 8.0, 0.5, 0.7, 9.0])
    positive = np.array([False, False, False, False, False, True])
    eligible = np.array([True, True, False, True, True, True])
    kept = mining.hard_negatives(loss, positive, eligible)
    np.testing.assert_array_equal(kept, [True, True, False, False, True, False])


def test_all_losses_equal_keeps_the_first():
    positive = np.arange(A) == 4
    kept = mine(np.zeros(A, np.float32), positive, np.ones(A, bool))
    np.testing.assert_array_equal(np.flatnonzero(kept), [0, 1, 2])


def test_a_nan_loss_is_kept_whatever_its_sign():
    loss = np.full(A, 1.0, np.float32)
    loss[[7, 9]] = np.nan, np.copysign(np.float32(np.nan), -1)
    kept = mine(loss, np.arange(A) == 0, np.ones(A, bool))
    np.testing.assert_array_equal(np.flatnonzero(kept), [1, 7, 9])


@pytest.mark.parametrize(
    ("num_positive", "num_eligible"), [(0, A), (A, 0), (3, 0), (0, 0), (19, 1), (1, A - 1)]
)
def test_counts_at_the_edges(num_positive, num_eligible):
    positive = np.arange(A) < num_positive
    eligible = np.arange(A) >= A - num_eligible
    kept = mine(np.arange(A, dtype=np.float32), positive, eligible)
    assert kept.sum() == min(3 * num_positive, (eligible & ~positive).sum())


def test_one_anchor():
    one = np.ones(1, np.float32)
    assert not mine(one, np.array([True]), np.array([True])).any()
    assert not mine(one, np.array([False]), np.array([True])).any()


def test_under_jit_and_vmap():
    rng = np.random.default_rng(0)
    loss = jnp.asarray(rng.integers(0, 4, (5, A)), jnp.float32)
    positive, eligible = (
        jnp.asarray(rng.random((5, A)) < 0.15),
        jnp.asarray(rng.random((5, A)) < 0.8),
    )
    one_by_one = [mine(*row) for row in zip(loss, positive, eligible, strict=True)]
    np.testing.assert_array_equal(
        mining.hard_negatives(loss[0], positive[0], eligible[0]), one_by_one[0]
    )
    batched = jax.jit(jax.vmap(mining.hard_negatives))(loss, positive, eligible)
    np.testing.assert_array_equal(batched, jnp.stack(one_by_one))
    assert len({int(kept.sum()) for kept in one_by_one}) > 1  # the counts were traced


def test_a_real_number_of_anchors_equals_sorting():
    rng = np.random.default_rng(0)
    loss = rng.exponential(size=8732).astype(np.float32)
    positive, eligible = rng.random(8732) < 0.005, rng.random(8732) < 0.98
    np.testing.assert_array_equal(
        mine(loss, positive, eligible), mine_by_sorting(loss, positive, eligible, 3.0)
    )


@pytest.mark.parametrize("ratio", [-1.0, float("inf"), float("nan")])
def test_impossible_ratios_are_refused(ratio):
    with pytest.raises(ValueError, match=r"mining\.hard_negatives: expected a finite ratio >= 0"):
        mining.hard_negatives(
            np.zeros(3, np.float32), np.ones(3, bool), np.ones(3, bool), ratio=ratio
        )


@pytest.mark.parametrize("shapes", [((3,), (4,), (3,)), ((3,), (3,), (2,)), ((1, 3),) * 3])
def test_wrong_shapes_are_refused(shapes):
    loss, positive, eligible = (jnp.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=r"mining\.hard_negatives: .* one shape \[A\]"):
        inspect.unwrap(mining.hard_negatives)(loss, positive > 0, eligible > 0)
