import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ssd_jax.ops import matching

# Corners on a grid of 1/8: areas and unions are exact in float32, so that the oracle has the very
# numbers of the op, and exact ties are common.
GRID = 8
G, A = 5, 14

jit_match = jax.jit(matching.match, static_argnames="iou_threshold")
bipartite = jax.jit(matching._assign_bipartite)


def grid_boxes(count):
    corners = hnp.arrays(np.int32, (count, 2, 2), elements=st.integers(0, GRID))
    return corners.map(lambda c: (np.sort(c, axis=1).reshape(count, 4) / GRID).astype(np.float32))


def to_cxcywh(boxes):
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)


def iou_by_loop(objects, valid, anchors):
    iou = np.zeros((len(objects), len(anchors)), np.float32)
    for g, (gx0, gy0, gx1, gy1) in enumerate(objects):
        for a, (ax0, ay0, ax1, ay1) in enumerate(anchors):
            width, height = min(gx1, ax1) - max(gx0, ax0), min(gy1, ay1) - max(gy0, ay0)
            if valid[g] and width > 0 and height > 0:
                both = width * height
                either = (gx1 - gx0) * (gy1 - gy0) + (ax1 - ax0) * (ay1 - ay0) - both
                iou[g, a] = np.float32(both) / np.float32(either)
    return iou


def match_by_loop(iou, threshold):
    """The rule as it is written: one pair at a time, over the whole matrix."""
    num_objects, num_anchors = iou.shape
    owner = {}
    while True:
        best = None
        for a in range(num_anchors):  # the lowest anchor first, then the lowest object
            for g in range(num_objects):
                is_free = a not in owner and g not in owner.values()
                if is_free and iou[g, a] > 1e-6 and (best is None or iou[g, a] > iou[best]):
                    best = g, a
        if best is None:
            break
        owner[best[1]] = best[0]
    index, positive = np.zeros(num_anchors, np.int32), np.zeros(num_anchors, bool)
    for a in range(num_anchors):
        index[a] = owner.get(a, np.argmax(iou[:, a]))
        positive[a] = a in owner or iou[:, a].max() >= threshold
    return index, positive


def assert_matches(actual, iou, threshold):
    index, positive = match_by_loop(iou, threshold)
    np.testing.assert_array_equal(actual.gt_index, index)
    np.testing.assert_array_equal(actual.positive, positive)
    np.testing.assert_array_equal(actual.iou, iou.max(axis=0))


ALL_ONE_BOX = np.tile(np.float32([0.25, 0.25, 0.75, 0.75]), (A, 1))


@settings(max_examples=200)
@given(
    grid_boxes(G), hnp.arrays(bool, G), grid_boxes(A), st.sampled_from([0.5, 1 / 3]), st.booleans()
)
@example(ALL_ONE_BOX[:G], np.ones(G, bool), ALL_ONE_BOX, 0.5, False)
def test_equals_the_greedy_loop(objects, valid, anchors, threshold, repeat):
    if repeat:  # an object twice, and an anchor twice
        objects[-1], anchors[-1] = objects[0], anchors[0]
    actual = jit_match(objects, valid, to_cxcywh(anchors), iou_threshold=threshold)
    assert_matches(actual, iou_by_loop(objects, valid, anchors), threshold)


@given(hnp.arrays(np.float32, (G, A), elements=st.sampled_from([0, 1e-7, 0.25, 0.5, 0.75, 1])))
def test_bipartite_step_equals_the_greedy_loop_on_any_matrix(iou):
    owned = bipartite(iou)
    index, positive = match_by_loop(iou, threshold=2.0)
    expected = {int(index[a]): a for a in range(A) if positive[a]}
    for g in range(G):
        assert owned[g] == expected[g] if g in expected else owned[g] >= A


def test_by_hand():
    anchors = np.float32([[0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1], [0, 0, 1, 1]])
    objects = np.float32([[0, 0, 0.5, 0.25], [0, 0, 1, 0.75], [0, 0, 0.75, 0.5]])
    # IoU by eighths: object 0 has 8/16 = 1/2 with anchor 0 and 8/64 = 1/8 with anchor 3;
    # object 1 has 16/48, 16/48, 8/56 = 1/7, 48/64 = 3/4;
    # object 2 has 16/24 = 2/3, 8/32 = 1/4, 0, 24/64 = 3/8.
    # Greedy: (1, 3) at 3/4, (2, 0) at 2/3; object 0 has only 1/2 and 1/8 with taken anchors, and
    # nothing with 1 and 2: it owns none.
    m = jit_match(objects, np.ones(3, bool), to_cxcywh(anchors))
    np.testing.assert_array_equal(m.gt_index, [2, 1, 1, 1])
    np.testing.assert_array_equal(m.positive, [True, False, False, True])
    np.testing.assert_allclose(m.iou, [2 / 3, 1 / 3, 1 / 7, 3 / 4], rtol=1e-6)
    # Where 1/3 is enough, anchor 1 takes the object it has it with.
    m = jit_match(objects, np.ones(3, bool), to_cxcywh(anchors), iou_threshold=0.33)
    np.testing.assert_array_equal(m.positive, [True, True, False, True])


def test_every_object_owns_an_anchor_though_all_compete_for_the_same():
    # Five objects inside one another; all prefer the anchor in the middle, which the largest IoU
    # gets, and the others find one elsewhere.
    objects = np.float32(
        [[0.5 - s, 0.5 - s, 0.5 + s, 0.5 + s] for s in (0.3, 0.28, 0.26, 0.24, 0.22)]
    )
    sides = np.array([0.5, *[0.9] * 4, *[0.1] * 5])
    anchors = np.stack([np.full(10, 0.5), np.full(10, 0.5), sides, sides], 1).astype(np.float32)
    m = jit_match(objects, np.ones(5, bool), anchors)
    assert set(np.asarray(m.gt_index)[np.asarray(m.positive)]) == {0, 1, 2, 3, 4}


def test_the_threshold_itself_is_enough():
    # Half of the anchor: IoU exactly 1/2. The object owns anchor 0; anchor 1 is its equal.
    objects, valid = np.float32([[0, 0, 0.5, 0.25]]), np.ones(1, bool)
    anchors = to_cxcywh(np.float32([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.5]]))
    assert jit_match(objects, valid, anchors).positive.tolist() == [True, True]
    above = jit_match(objects, valid, anchors, iou_threshold=0.51)
    assert above.positive.tolist() == [True, False]


def test_an_overlap_of_a_millionth_owns_nothing():
    objects, valid = np.float32([[0, 0, 1e-4, 1e-4]]), np.ones(1, bool)
    # IoU (1e-4)^2 / 1 = 1e-8 < 1e-6; with half the side it is (1e-4 / .05)^2 = 4e-6.
    whole, small = np.float32([[0.5, 0.5, 1, 1]]), np.float32([[0.025, 0.025, 0.05, 0.05]])
    assert not jit_match(objects, valid, whole).positive.any()
    assert jit_match(objects, valid, small).positive.all()


def test_one_anchor_and_several_objects():
    # The best one has it; of two equal ones the first.
    anchor = np.float32([[0.5, 0.5, 0.5, 0.5]])
    objects = np.float32([[0, 0, 0.5, 0.5], [0.25, 0.25, 0.75, 0.75], [0.25, 0.25, 0.75, 0.75]])
    m = jit_match(objects, np.ones(3, bool), anchor)
    assert (m.gt_index.tolist(), m.positive.tolist(), m.iou.tolist()) == ([1], [True], [1.0])


@pytest.mark.parametrize("num_slots", [0, 3])
@pytest.mark.parametrize("fill", [0.0, np.nan])
def test_padding_is_never_matched(num_slots, fill):
    anchors = to_cxcywh(np.float32([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]))
    objects, valid = np.full((num_slots, 4), fill, np.float32), np.zeros(num_slots, bool)
    m = jit_match(objects, valid, anchors)
    assert not m.positive.any()
    np.testing.assert_array_equal(m.iou, [0, 0])
    np.testing.assert_array_equal(m.gt_index, [0, 0])
    assert m.gt_index.dtype == jnp.int32


def test_a_padded_slot_that_would_win_is_not_matched():
    anchors = to_cxcywh(np.float32([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]))
    objects = np.float32([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 0.75], [np.nan] * 4])
    m = jit_match(objects, np.array([False, True, False]), anchors)
    np.testing.assert_array_equal(m.positive, [False, True])
    np.testing.assert_array_equal(m.iou, [0, 0.5])
    assert m.gt_index[1] == 1


def random_scene(seed, num_objects, num_anchors):
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.integers(0, GRID + 1, (num_objects, 2, 2)), axis=1) / GRID
    anchors = np.sort(rng.integers(0, GRID + 1, (num_anchors, 2, 2)), axis=1) / GRID
    return (
        corners.reshape(-1, 4).astype(np.float32),
        rng.random(num_objects) < 0.7,
        to_cxcywh(anchors.reshape(-1, 4).astype(np.float32)),
    )


def test_under_jit_and_vmap():
    scenes = [random_scene(seed, G, A) for seed in range(4)]
    one_by_one = [jit_match(*scene) for scene in scenes]
    jax.tree.map(np.testing.assert_array_equal, one_by_one[0], matching.match(*scenes[0]))

    def assert_equals_loop(batched, results):
        jax.tree.map(lambda b, *r: np.testing.assert_array_equal(b, np.stack(r)), batched, *results)

    # Anchors of each image, as a refining detector has, and anchors that all images share.
    objects, valid, anchors = (jnp.stack(part) for part in zip(*scenes, strict=True))
    assert_equals_loop(jax.jit(jax.vmap(matching.match))(objects, valid, anchors), one_by_one)
    assert_equals_loop(
        jax.jit(jax.vmap(matching.match, (0, 0, None)))(objects, valid, anchors[0]),
        [jit_match(*scene, anchors[0]) for scene in zip(objects, valid, strict=True)],
    )


def test_nothing_is_differentiated():
    objects, valid, anchors = random_scene(0, G, A)

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1))
    def gradients(objects, anchors):
        m = matching.match(objects, valid, anchors)
        return jnp.sum(m.iou) + jnp.sum(jnp.where(m.positive, m.iou, 0))

    for gradient in gradients(objects, anchors):
        np.testing.assert_array_equal(gradient, 0)


def test_many_objects_and_anchors_in_linear_memory():
    num_objects, num_anchors = 200, 24564
    rng = np.random.default_rng(0)
    objects = rng.uniform(0, 0.9, (num_objects, 4)).astype(np.float32)
    objects[:, 2:] = objects[:, :2] + 0.1
    anchors = rng.uniform(0.05, 1, (num_anchors, 4)).astype(np.float32)
    valid = np.arange(num_objects) < 190
    compiled = jax.jit(matching.match).lower(objects, valid, anchors).compile()
    pairs = num_objects * num_anchors
    assert compiled.memory_analysis().temp_size_in_bytes < 6 * 4 * pairs
    m = compiled(objects, valid, anchors)
    owned = set(np.asarray(m.gt_index)[np.asarray(m.positive)])
    assert owned == set(range(190))


@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.5, float("nan")])
def test_thresholds_out_of_range_are_refused(threshold):
    objects, valid, anchors = random_scene(0, G, A)
    with pytest.raises(ValueError, match=r"matching\.match: expected 0 < iou_threshold <= 1"):
        matching.match(objects, valid, anchors, iou_threshold=threshold)


@pytest.mark.parametrize(
    ("objects", "valid", "anchors"),
    [
        ((3, 5), (3,), (7, 4)),
        ((3, 4), (4,), (7, 4)),
        ((3, 4), (3,), (7, 5)),
        ((3, 4), (3,), (0, 4)),
    ],
)
def test_wrong_shapes_are_refused(objects, valid, anchors):
    with pytest.raises(ValueError, match=r"matching\.match: expected"):
        inspect.unwrap(matching.match)(
            jnp.zeros(objects), jnp.zeros(valid, bool), jnp.zeros(anchors)
        )
