import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ssd_jax.ops import boxes

GRID = 12

jit_iou = jax.jit(boxes.pairwise_iou)
summed_iou_and_gradients = jax.jit(
    jax.value_and_grad(lambda box, others: boxes.pairwise_iou(box[None], others).sum(), (0, 1))
)
grid_boxes = hnp.arrays(np.int32, (5, 2, 2), elements=st.integers(0, GRID)).map(
    lambda corners: np.sort(corners, axis=1).reshape(5, 4)  # x0 <= x1, y0 <= y1; areas may be 0
)


def raster(box):
    """The cells of the grid that a box of whole numbers covers."""
    cells = np.zeros((GRID, GRID), bool)
    x0, y0, x1, y1 = box
    cells[y0:y1, x0:x1] = True
    return cells


def raster_iou(a, b):
    union = (raster(a) | raster(b)).sum()
    return (raster(a) & raster(b)).sum() / union if union else 0.0


def test_conversions_by_hand():
    # From (1, 2) to (5, 4): centre ((1 + 5) / 2, (2 + 4) / 2), size (5 - 1, 4 - 2).
    corners, centre = jnp.array([[1.0, 2, 5, 4]]), jnp.array([[3.0, 3, 4, 2]])
    np.testing.assert_array_equal(boxes.xyxy_to_cxcywh(corners), centre)
    np.testing.assert_array_equal(boxes.cxcywh_to_xyxy(centre), corners)


@given(grid_boxes)
def test_conversions_are_inverse_on_any_leading_axes(grid):
    corners = jnp.asarray(grid, jnp.float32)  # sums and halves of small whole numbers are exact
    there_and_back = boxes.cxcywh_to_xyxy(boxes.xyxy_to_cxcywh(corners))
    np.testing.assert_array_equal(there_and_back, corners)
    np.testing.assert_array_equal(
        boxes.xyxy_to_cxcywh(corners[None, :, None]), boxes.xyxy_to_cxcywh(corners)[None, :, None]
    )


def test_clip_moves_corners_into_the_unit_square():
    outside = jnp.array([[-0.5, 0.25, 0.5, 1.5], [2.0, 2.0, 3.0, 3.0]])
    np.testing.assert_array_equal(boxes.clip(outside), [[0, 0.25, 0.5, 1], [1, 1, 1, 1]])


def test_area_by_hand():
    # 4 * 2; no height; corners swapped on one axis, and on both, which is not 2 * 2.
    some = jnp.array([[1.0, 2, 5, 4], [1, 2, 5, 2], [5, 2, 1, 4], [3, 3, 1, 1]])
    np.testing.assert_array_equal(boxes.area(some), [8, 0, 0, 0])


def test_iou_by_hand():
    # Two squares of side 2 that share 1 x 1: 1 / (4 + 4 - 1). Inside one another: 1 / 4.
    a = jnp.array([[0.0, 0, 2, 2]])
    b = jnp.array([[1.0, 1, 3, 3], [0, 0, 1, 1], [0, 0, 2, 2], [2, 0, 4, 2], [5, 5, 6, 6]])
    np.testing.assert_allclose(boxes.pairwise_iou(a, b), [[1 / 7, 1 / 4, 1, 0, 0]], rtol=1e-6)


@given(grid_boxes, grid_boxes)
def test_iou_equals_counted_cells(a, b):
    expected = [[raster_iou(row, column) for column in b] for row in a]
    scaled = [jnp.asarray(x, jnp.float32) / GRID for x in (a, b)]
    np.testing.assert_allclose(jit_iou(*scaled), expected, atol=1e-5)
    np.testing.assert_allclose(
        jit_iou(*(jnp.asarray(x, jnp.float32) for x in (a, b))), expected, rtol=1e-6
    )


def test_iou_under_jit_and_vmap():
    corners = np.random.default_rng(0).uniform(size=(3, 7, 2, 2)).astype(np.float32)
    a = jnp.asarray(np.sort(corners, axis=2).reshape(3, 7, 4))
    b = a[:, ::-1][:, :4]
    eager = [boxes.pairwise_iou(*pair) for pair in zip(a, b, strict=True)]
    assert eager[0].shape == (7, 4)
    np.testing.assert_allclose(jit_iou(a[0], b[0]), eager[0], rtol=1e-6)
    batched = jax.jit(jax.vmap(boxes.pairwise_iou))(a, b)
    np.testing.assert_allclose(batched, jnp.stack(eager), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "box",
    [
        pytest.param([0.3, 0.3, 0.3, 0.3], id="a point"),
        pytest.param([0.3, 0.2, 0.3, 0.6], id="a line"),
        pytest.param([0.6, 0.6, 0.3, 0.3], id="corners swapped"),
        pytest.param([0.0, 0.0, 0.0, 0.0], id="padding"),
    ],
)
def test_iou_of_a_box_without_area_is_zero_with_finite_gradients(box):
    others = jnp.array([box, [0.0, 0, 1, 1], [0.25, 0.25, 0.5, 0.5]])

    value, gradients = summed_iou_and_gradients(jnp.array(box), others)
    assert value == 0
    assert all(np.isfinite(g).all() for g in gradients)


def test_numpy_boxes_are_accepted():
    box = np.array([[0, 0, 1, 1]], np.float32)
    assert isinstance(boxes.pairwise_iou(box, box), jax.Array)
    assert isinstance(boxes.xyxy_to_cxcywh(box), jax.Array)


@pytest.mark.parametrize("name", ["cxcywh_to_xyxy", "xyxy_to_cxcywh", "clip", "area"])
def test_five_numbers_a_box_are_refused(name):
    untyped = inspect.unwrap(getattr(boxes, name))  # as in production, without type checks
    with pytest.raises(ValueError, match=rf"boxes\.{name}: expected .* \[\.\.\., 4\].*\(8732, 5\)"):
        untyped(jnp.zeros((8732, 5)))


@pytest.mark.parametrize(("a", "b"), [((3, 5), (2, 4)), ((3, 4), (4,)), ((2, 3, 4), (2, 4))])
def test_iou_of_wrong_shapes_is_refused(a, b):
    with pytest.raises(ValueError, match=r"boxes\.pairwise_iou: expected \[N, 4\]"):
        inspect.unwrap(boxes.pairwise_iou)(jnp.zeros(a), jnp.zeros(b))
