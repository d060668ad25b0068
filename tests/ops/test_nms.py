import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ssd_jax.ops import nms

GRID = 8
K, A, C = 16, 12, 4

jit_nms = jax.jit(nms.nms, static_argnames=("iou_threshold", "max_output"))
jit_multiclass = jax.jit(
    nms.multiclass_nms,
    static_argnames=("score_threshold", "iou_threshold", "pre_nms_top_k", "max_output"),
)


def grid_boxes(count):
    # Corners on a grid of 1/8, so that float32 has exact areas and overlaps reach the threshold.
    corners = hnp.arrays(np.int32, (count, 2, 2), elements=st.integers(0, GRID))
    return corners.map(lambda c: (np.sort(c, axis=1).reshape(count, 4) / GRID).astype(np.float32))


def iou_by_loop(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return np.float32(0)
    both = width * height
    either = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return np.float32(both) / np.float32(either)


def nms_by_loop(boxes, scores, candidates, iou_threshold):
    """The rule as it is written: by falling score, one box at a time."""
    kept = []
    for i in sorted(candidates, key=lambda i: (-scores[i], i)):
        if all(iou_by_loop(boxes[i], boxes[j]) <= np.float32(iou_threshold) for j in kept):
            kept.append(i)
    return kept


def assert_kept(actual, expected, max_output):
    expected = expected[:max_output]
    assert actual.valid.tolist() == [True] * len(expected) + [False] * (max_output - len(expected))
    assert actual.index.tolist() == expected + [0] * (max_output - len(expected))


few_scores = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, -1.0, -np.inf, np.nan])
some_scores = hnp.arrays(np.float32, K, elements=few_scores) | hnp.arrays(
    np.float32, K, elements=st.floats(0, 1, width=32, allow_subnormal=False)
)
SAME = np.tile(np.float32([0.25, 0.25, 0.5, 0.5]), (K, 1))


@settings(max_examples=200)
@given(
    grid_boxes(K),
    some_scores,
    hnp.arrays(bool, K),
    st.sampled_from([(0.0, K), (0.45, 5), (0.5, K + 3), (1.0, 1)]),
)
@example(SAME, np.ones(K, np.float32), np.ones(K, bool), (0.45, 5))
def test_equals_the_greedy_loop(boxes, scores, valid, setting):
    iou_threshold, max_output = setting
    actual = jit_nms(boxes, scores, valid=valid, iou_threshold=iou_threshold, max_output=max_output)
    candidates = [i for i in range(K) if valid[i] and scores[i] > -np.inf]
    assert_kept(actual, nms_by_loop(boxes, scores, candidates, iou_threshold), max_output)


def test_by_hand():
    # In order of score 2, 0, 1, 3. Boxes 0 and 2 share 3 x 4 of 4 x 4 each: 12 / 20 = .6 > .45.
    # 0 is dropped, so 1, which shares 3 x 4 with 0 but 2 x 4 with 2 (8 / 24 = .33), is kept.
    boxes = np.float32([[1, 0, 5, 4], [2, 0, 6, 4], [0, 0, 4, 4], [20, 20, 24, 24]])
    scores = np.float32([0.8, 0.7, 0.9, 0.1])
    kept = nms.nms(boxes, scores, iou_threshold=0.45, max_output=5)
    assert kept.index.tolist() == [2, 1, 3, 0, 0]
    assert kept.valid.tolist() == [True, True, True, False, False]


def test_an_overlap_of_the_threshold_is_kept():
    # 2 x 4 of 4 x 4: exactly 1/2.
    boxes, scores = np.float32([[0, 0, 4, 4], [0, 0, 4, 2]]), np.float32([1, 0.5])
    assert jit_nms(boxes, scores, iou_threshold=0.5, max_output=2).valid.tolist() == [True, True]
    assert jit_nms(boxes, scores, iou_threshold=0.49, max_output=2).valid.tolist() == [True, False]


def test_a_long_chain_in_which_every_second_box_is_kept():
    # Each box overlaps only its neighbours, so that whether the last is kept hangs on the first.
    length = 101
    left = np.arange(length, dtype=np.float32)
    boxes = np.stack([left, 0 * left, left + 1.5, 0 * left + 1], 1)  # .5 of 2.5: IoU .2
    kept = jit_nms(boxes, -left, iou_threshold=0.1, max_output=length)
    assert kept.valid.sum() == 51
    np.testing.assert_array_equal(kept.index[:51], np.arange(0, length, 2))


def test_boxes_without_area_suppress_nothing():
    boxes = np.zeros((3, 4), np.float32)
    kept = jit_nms(boxes, np.float32([1, 3, 2]), iou_threshold=0.0, max_output=3)
    assert kept.index.tolist() == [1, 2, 0]
    assert kept.valid.all()


@pytest.mark.parametrize("score", [-np.inf, np.nan])
def test_nothing_valid_keeps_nothing(score):
    kept = jit_nms(SAME, np.full(K, score, np.float32), iou_threshold=0.5, max_output=4)
    assert not kept.valid.any()
    assert kept.index.tolist() == [0] * 4


def multiclass_by_loop(boxes, scores, *, score_threshold, iou_threshold, pre_nms_top_k, max_output):
    found = []
    for label in range(1, scores.shape[1]):
        column = scores[:, label]
        candidates = [i for i in range(len(column)) if column[i] > np.float32(score_threshold)]
        candidates = sorted(candidates, key=lambda i: (-column[i], i))[:pre_nms_top_k]
        kept = nms_by_loop(boxes, column, candidates, iou_threshold)
        found += [(-column[i], label, i) for i in kept]
    found = sorted(found)[:max_output]
    missing = max_output - len(found)
    return (
        np.array([boxes[i] for *_, i in found] + [np.zeros(4)] * missing, np.float32),
        np.array([-score for score, *_ in found] + [0] * missing, np.float32),
        np.array([label for _, label, _ in found] + [0] * missing, np.int32),
        np.arange(max_output) < len(found),
    )


class_scores = hnp.arrays(np.float32, (A, C), elements=few_scores) | hnp.arrays(
    np.float32, (A, C), elements=st.floats(0, 1, width=32, allow_subnormal=False)
)


@settings(max_examples=200)
@given(
    grid_boxes(A),
    class_scores,
    st.sampled_from([(0.25, 0.45, 5, 8), (0.0, 0.5, 100, 50), (-2.0, 0.0, A, 1)]),
)
@example(SAME[:A], np.full((A, C), 0.5, np.float32), (0.25, 0.45, 5, 8))
def test_multiclass_equals_the_loop(boxes, scores, setting):
    names = ("score_threshold", "iou_threshold", "pre_nms_top_k", "max_output")
    arguments = dict(zip(names, setting, strict=True))
    actual = jit_multiclass(boxes, scores, **arguments)
    for part, expected in zip(actual, multiclass_by_loop(boxes, scores, **arguments), strict=True):
        assert part.dtype == expected.dtype
        np.testing.assert_array_equal(part, expected)


def test_multiclass_by_hand():
    boxes = np.float32([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.4], [0.5, 0.5, 1, 1]])
    scores = np.float32(
        [
            # background, 1, 2
            [0.1, 0.6, 0.3],
            [0.1, 0.5, 0.4],  # of class 1 dropped by box 0 (IoU .8); of class 2 it drops box 0
            [0.98, 0.01, 0.01],  # not above the threshold, and background does not count
        ]
    )
    found = nms.multiclass_nms(
        boxes, scores, score_threshold=0.01, iou_threshold=0.45, pre_nms_top_k=400, max_output=3
    )
    np.testing.assert_array_equal(found.boxes_xyxy, [boxes[0], boxes[1], [0, 0, 0, 0]])
    np.testing.assert_array_equal(found.scores, np.float32([0.6, 0.4, 0]))
    np.testing.assert_array_equal(found.labels, [1, 2, 0])
    np.testing.assert_array_equal(found.valid, [True, True, False])


def test_under_jit_and_vmap():
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(size=(3, A, 2, 2)), axis=2).reshape(3, A, 4)
    boxes = jnp.asarray(corners, jnp.float32)
    scores = jnp.asarray(rng.random((3, A, C)), jnp.float32)
    setting = {"iou_threshold": 0.2, "max_output": A}
    class_setting = {**setting, "score_threshold": 0.2, "pre_nms_top_k": 7}

    def all_of_it(boxes, scores):
        return (
            nms.nms(boxes, scores[:, 0], **setting),
            nms.multiclass_nms(boxes, scores, **class_setting),
        )

    jitted = jax.jit(all_of_it)
    one_by_one = [jitted(*image) for image in zip(boxes, scores, strict=True)]
    jax.tree.map(np.testing.assert_array_equal, all_of_it(boxes[0], scores[0]), one_by_one[0])
    jax.tree.map(
        lambda batched, *each: np.testing.assert_array_equal(batched, np.stack(each)),
        jax.jit(jax.vmap(all_of_it))(boxes, scores),
        *one_by_one,
    )
    assert len({int(kept.valid.sum()) for kept, _ in one_by_one}) > 1  # the images differ


@pytest.mark.parametrize(
    "setting", [{"iou_threshold": -0.1}, {"iou_threshold": 1.5}, {"max_output": 0}], ids=str
)
def test_settings_out_of_range_are_refused(setting):
    ((name, value),) = setting.items()
    with pytest.raises(ValueError, match=rf"nms\.nms: expected .*{name}.*got {value}"):
        nms.nms(SAME, np.ones(K, np.float32), **{"iou_threshold": 0.5, "max_output": 3, **setting})
    multiclass = {"score_threshold": 0.0, "pre_nms_top_k": 3, "iou_threshold": 0.5, "max_output": 3}
    with pytest.raises(ValueError, match=rf"nms\.multiclass_nms: expected .*{name}.*got {value}"):
        nms.multiclass_nms(SAME, np.ones((K, C), np.float32), **{**multiclass, **setting})
    with pytest.raises(ValueError, match=r"expected pre_nms_top_k >= 1, got 0"):
        nms.multiclass_nms(SAME, np.ones((K, C), np.float32), **{**multiclass, "pre_nms_top_k": 0})


@pytest.mark.parametrize(
    ("boxes", "scores", "valid"), [((3, 5), (3,), (3,)), ((3, 4), (2,), (2,)), ((3, 4), (3,), (1,))]
)
def test_wrong_shapes_are_refused(boxes, scores, valid):
    with pytest.raises(ValueError, match=r"nms\.nms: expected boxes_xyxy \[K, 4\]"):
        inspect.unwrap(nms.nms)(
            jnp.zeros(boxes),
            jnp.zeros(scores),
            valid=jnp.ones(valid, bool),
            iou_threshold=0.5,
            max_output=3,
        )


@pytest.mark.parametrize(
    ("boxes", "scores"), [((3, 5), (3, 2)), ((3, 4), (4, 2)), ((3, 4), (3,)), ((3, 4), (3, 1))]
)
def test_wrong_class_scores_are_refused(boxes, scores):
    with pytest.raises(ValueError, match=r"nms\.multiclass_nms: expected .* with C >= 2"):
        inspect.unwrap(nms.multiclass_nms)(
            jnp.zeros(boxes),
            jnp.zeros(scores),
            score_threshold=0.0,
            iou_threshold=0.5,
            pre_nms_top_k=3,
            max_output=3,
        )


def soften_by_loop(boxes, scores, iou_threshold):
    scores, left = [float(s) for s in scores], set(range(len(scores)))
    while left:
        best = max(left, key=lambda i: (scores[i], -i))
        left.remove(best)
        for i in left:
            iou = float(iou_by_loop(boxes[i], boxes[best]))
            if iou > iou_threshold:
                scores[i] *= 1 - iou
    return scores


@given(boxes=grid_boxes(K), scores=hnp.arrays(np.int32, K, elements=st.integers(0, 8)))
def test_soften_is_linear_soft_nms(boxes, scores):
    scores = (scores / 8).astype(np.float32)
    actual = jax.jit(nms.soften, static_argnames="iou_threshold")(boxes, scores, iou_threshold=0.3)
    np.testing.assert_allclose(actual, soften_by_loop(boxes, scores, 0.3), rtol=1e-5, atol=1e-7)


def test_soften_leaves_out_what_is_excluded():
    # By hand: IoU of the first two is .5, so .8 falls to .4; the excluded box lowers nothing.
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 0.5], [0, 0, 1, 1]], np.float32)
    scores = np.array([0.9, 0.8, -np.inf], np.float32)
    softened = nms.soften(boxes, scores, iou_threshold=0.45)
    np.testing.assert_allclose(softened, [0.9, 0.4, -np.inf], rtol=1e-6)


def test_soft_suppression_keeps_what_stays_above_the_threshold():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 0.5], [0, 0, 1, 0.9]], np.float32)
    scores = np.array([[0, 0.9], [0, 0.8], [0, 0.5]], np.float32)
    settings = {"iou_threshold": 0.45, "pre_nms_top_k": 3, "max_output": 3}
    hard = nms.multiclass_nms(boxes, scores, score_threshold=0.1, **settings)
    assert hard.valid.tolist() == [True, False, False]
    # .8 * (1 - .5) = .4; the third overlaps the first by .9: .5 * .1 = .05, which is too low.
    soft = nms.multiclass_nms(boxes, scores, score_threshold=0.1, soft=True, **settings)
    assert soft.valid.tolist() == [True, True, False]
    np.testing.assert_allclose(soft.scores[:2], [0.9, 0.4], rtol=1e-6)


def test_voting_averages_a_box_with_those_that_overlap_it():
    # The second overlaps the first by .8 and votes; the third, by .4, does not; the fourth is of
    # another class.
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 0.8], [0, 0, 1, 0.4], [0, 0, 0.9, 1]], np.float32)
    scores = np.array([[0, 0.9, 0], [0, 0.3, 0], [0, 0.2, 0], [0, 0, 0.6]], np.float32)
    settings = {"score_threshold": 0.1, "iou_threshold": 0.45, "pre_nms_top_k": 4, "max_output": 4}
    found = nms.multiclass_nms(boxes, scores, voting_iou=0.5, **settings)
    assert found.labels.tolist() == [1, 2, 1, 0]
    bottom = (0.9 * 1 + 0.3 * 0.8) / 1.2
    np.testing.assert_allclose(found.boxes_xyxy[0], [0, 0, 1, bottom], rtol=1e-6)
    np.testing.assert_allclose(found.boxes_xyxy[1], boxes[3], rtol=1e-6)
    np.testing.assert_allclose(found.boxes_xyxy[2], boxes[2], rtol=1e-6)


def test_voting_iou_is_checked():
    boxes, scores = np.zeros((1, 4), np.float32), np.zeros((1, 2), np.float32)
    settings = {"score_threshold": 0.1, "iou_threshold": 0.5, "pre_nms_top_k": 1, "max_output": 1}
    with pytest.raises(ValueError, match="0 < voting_iou <= 1, got 2"):
        nms.multiclass_nms(boxes, scores, voting_iou=2.0, **settings)
    with pytest.raises(ValueError, match="0 <= iou_threshold <= 1, got 3"):
        nms.soften(boxes, np.zeros(1, np.float32), iou_threshold=3.0)
