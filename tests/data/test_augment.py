import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ssd_jax.data.augment import AugmentSpec, augment, warp
from ssd_jax.ops import resample

# A canvas larger than the image, and no two lengths alike, so that no exchange goes unseen.
CANVAS, SIZE, OUT = (90, 112), (72, 96), (80, 100)
# Sides of 12 pixels and more, so that a fourfold expansion leaves something to measure.
RECTANGLES = np.array([[10, 20, 50, 60], [40, 5, 90, 30], [30, 44, 48, 56]])
BOXES = jnp.asarray(np.float32(RECTANGLES / [96, 72, 96, 72]))
LABELS, VALID = jnp.array([5, 2, 7]), jnp.array([True, True, True])
OFF = {"photometric": False, "expand": False, "crop": False, "flip": False}
SMALL = AugmentSpec(image_size=OUT)


def make_canvas(image):
    canvas = np.full((*CANVAS, 3), 255, np.uint8)  # what lies behind the image must not show
    canvas[: image.shape[0], : image.shape[1]] = image
    return jnp.asarray(canvas)


def make_noise(size=SIZE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def make_masks():
    """An image whose red, green and blue channels are each the mask of one rectangle."""
    image = np.zeros((*SIZE, 3), np.uint8)
    for channel, (x0, y0, x1, y1) in enumerate(RECTANGLES):
        image[y0:y1, x0:x1, channel] = 255
    return image


@functools.partial(jax.jit, static_argnames="spec")
def augment_jit(*arguments, spec):
    return augment(*arguments, spec=spec)


@functools.partial(jax.jit, static_argnames="spec")
def augment_batch(*arguments, spec):
    return jax.vmap(functools.partial(augment, spec=spec))(*arguments)


warp_jit = jax.jit(warp, static_argnames="image_size")


def augment_one(seed, canvas, size=SIZE, boxes=BOXES, labels=LABELS, valid=VALID):
    # All arguments are arrays of one shape and type, so that all tests share one compilation.
    objects = jnp.asarray(boxes, jnp.float32), labels, jnp.asarray(valid)
    return augment_jit(jax.random.key(seed), canvas, jnp.asarray(size), *objects, spec=SMALL)


def augment_many(num, canvas, spec):
    """The same image by many keys."""
    repeated = [jnp.stack([x] * num) for x in (canvas, jnp.array(SIZE), BOXES, LABELS, VALID)]
    return augment_batch(jax.random.split(jax.random.key(0), num), *repeated, spec=spec)


def mask_edges(mask):
    """Where a mask begins and ends along x and y, (x0, y0, x1, y1), in pixels."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def test_boxes_lie_where_the_pixels_went():
    # Colours off and a black fill: each channel of the output is still the mask of its rectangle.
    spec = AugmentSpec(image_size=OUT, photometric=False, fill=(0.0, 0.0, 0.0))
    result = jax.tree.map(np.asarray, augment_many(400, make_canvas(make_masks()), spec))
    assert 0.5 < result.valid.mean() < 0.99  # both outcomes are there to be tested
    unit = np.array([100, 80, 100, 80])
    errors = []
    for image, boxes, valid in zip(result.image, result.boxes_xyxy, result.valid, strict=True):
        for channel in np.flatnonzero(valid):
            # Enlarged by at most 1 / (.3 * .7) * 80/72, source pixels are up to 5 wide.
            edges = mask_edges(image[..., channel] > 127.5) - boxes[channel] * unit
            assert np.abs(edges).max() < 3.5, (boxes[channel] * unit, edges)
            errors.append(edges)
    # No shift and no scaling: each edge is right on average, to a tenth of a pixel.
    assert len(errors) > 500
    np.testing.assert_allclose(np.mean(errors, axis=0), 0, atol=0.1)
    assert np.std(errors) < 0.6


def only(part, canvas):
    spec = AugmentSpec(**(OFF | {part: True}), image_size=OUT, kernels=("linear",))
    result = jax.tree.map(np.asarray, augment_many(60, canvas, spec))
    return result.image, result.boxes_xyxy[:, 0], result.valid[:, 0]


def test_flip_alone_mirrors_half_of_the_images():
    canvas = make_canvas(make_noise())
    images, boxes, valid = only("flip", canvas)
    x0, y0, x1, y1 = box = np.asarray(BOXES[0])
    flipped = boxes[:, :1] != x0
    assert abs(flipped.mean() - 0.5) < 4.5 * 0.5 / np.sqrt(60)
    expected = np.where(flipped, [1 - x1, y0, 1 - x0, y1], box)
    np.testing.assert_allclose(boxes, expected, atol=1e-6)
    warped = np.asarray(warp_jit(canvas, jnp.array(SIZE), image_size=OUT))
    for image, mirrored in zip(images, flipped, strict=True):
        np.testing.assert_allclose(image, warped[:, ::-1] if mirrored else warped, atol=1e-2)
    assert valid.all()


@pytest.mark.parametrize("part", ["photometric", "expand", "crop"])
def test_each_part_can_be_switched_on_alone(part):
    images, boxes, valid = only(part, make_canvas(np.full((*SIZE, 3), 200, np.uint8)))
    sides = boxes[valid, 2:] - boxes[valid, :2]
    scale = np.max(sides / np.asarray(BOXES[0, 2:] - BOXES[0, :2]), axis=1)  # clipped: less
    if part == "photometric":
        np.testing.assert_allclose(boxes, [BOXES[0]] * 60, atol=1e-6)
        np.testing.assert_allclose(np.ptp(images, axis=(1, 2)), 0, atol=1e-3)
        assert np.ptp(images) > 30
    elif part == "expand":
        assert scale.min() < 0.4
        assert scale.max() <= 1 + 1e-5
        assert images.min() == pytest.approx(104)  # the fill's blue
    else:
        assert scale.min() > 0.5
        assert scale.max() > 1.5
        np.testing.assert_allclose(images, 200, atol=1e-3)


def test_the_crop_is_drawn_in_the_expanded_picture():
    # One object, the whole image. An expansion alone shows it square; a crop that overlaps it by
    # half or more is at least half covered by it.
    spec = AugmentSpec(
        **(OFF | {"expand": True, "crop": True}),
        expand_probability=1.0,
        min_ious=(0.5,),
        image_size=OUT,
        kernels=("linear",),
    )
    canvas, whole = make_canvas(make_noise()), jnp.tile(jnp.array([0.0, 0, 1, 1]), (3, 1))
    batch = [jnp.stack([x] * 100) for x in (canvas, jnp.array(SIZE), whole, LABELS, VALID)]
    result = augment_batch(jax.random.split(jax.random.key(0), 100), *batch, spec=spec)
    boxes = np.asarray(result.boxes_xyxy)[np.asarray(result.valid)]
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    cropped = np.abs(width - height) > 1e-4
    assert 0.2 < cropped.mean() < 0.8
    assert (width * height)[cropped].min() > 0.5 - 1e-4


def test_the_fill_keeps_its_colour():
    # Colours are distorted before the expansion; 'nearest' blends nothing.
    spec = AugmentSpec(crop=False, expand_probability=1.0, kernels=("nearest",), image_size=OUT)
    canvas = make_canvas(np.full((*SIZE, 3), 60, np.uint8))
    images = np.asarray(augment_many(20, canvas, spec).image)
    shown = set()
    for image in images:
        is_fill = (np.abs(image - np.array(spec.fill)) < 1e-3).all(axis=-1)
        assert 0 < is_fill.mean() < 1
        np.testing.assert_allclose(np.ptp(image[~is_fill], axis=0), 0, atol=1e-3)
        shown.add(round(float(image[~is_fill][0, 0]), 3))
    assert len(shown) > 5


@given(st.integers(0, 2**31))
def test_results_are_in_their_range(seed):
    result = augment_one(seed, make_canvas(make_noise(seed=seed)))
    assert result.image.shape == (*OUT, 3)
    assert result.image.dtype == result.boxes_xyxy.dtype == jnp.float32
    assert result.image.min() >= 0
    assert result.image.max() <= 255
    boxes, valid = np.asarray(result.boxes_xyxy), np.asarray(result.valid)
    assert (boxes >= 0).all()
    assert (boxes <= 1).all()
    assert (boxes[valid, 2:] > boxes[valid, :2]).all()
    assert not boxes[~valid].any()
    np.testing.assert_array_equal(result.labels, np.where(valid, LABELS, 0))


def test_the_key_decides():
    canvas = make_canvas(make_noise())
    results = [augment_one(i, canvas) for i in range(12)]
    again = augment_one(3, canvas)
    jax.tree.map(np.testing.assert_array_equal, results[3], again)
    assert len({np.asarray(r.image).tobytes() for r in results}) == 12


def test_vmap_equals_a_loop():
    canvases = jnp.stack([make_canvas(make_noise(seed=i)) for i in range(3)])
    keys = jax.random.split(jax.random.key(1), 3)
    sizes = jnp.array([SIZE, (40, 110), (90, 7)])
    objects = [jnp.stack([x, x[::-1], x]) for x in (BOXES, LABELS, VALID)]
    batch = (keys, canvases, sizes, *objects)
    together = augment_batch(*batch, spec=SMALL)
    for i in range(3):
        alone = augment_jit(*[argument[i] for argument in batch], spec=SMALL)
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_allclose(a, b[i], atol=0.05)


def test_jit_equals_eager():
    # An eager call compiles each operation by itself, so: one kernel, rows as long as columns, and
    # without the parts whose tests in tests/ops do the same.
    spec = AugmentSpec(**(OFF | {"flip": True}), image_size=(40, 40), kernels=("linear",))
    arguments = (jax.random.key(2), jnp.asarray(make_noise((50, 50))), jnp.array([50, 50]))
    eager = augment(*arguments, BOXES, LABELS, VALID, spec=spec)
    jitted = augment_jit(*arguments, BOXES, LABELS, VALID, spec=spec)
    for a, b in zip(eager, jitted, strict=True):
        np.testing.assert_allclose(a, b, atol=0.05)


EDGE_CASES = {
    "no objects": {"valid": [False] * 3},
    "one pixel": {"size": (1, 1)},
    "one row": {"size": (1, 96)},
    "full canvas": {"size": CANVAS},
    "no image": {"size": (0, 0), "valid": [False] * 3},
    "boxes without area": {"boxes": [[0.5, 0.5, 0.5, 0.9], [0, 0, 0, 0], [1, 0, 1, 1]]},
    "boxes outside": {"boxes": [[1.5, 0.5, 2, 0.9], [-2, -1, -1, 0.5], [0.2, 1.1, 0.5, 1.2]]},
    "boxes reversed": {"boxes": [[0.5, 0.9, 0.2, 0.1], [0.5, 0.1, 0.2, 0.4], [0, 0.9, 1, 0.1]]},
}


@pytest.mark.parametrize("case", EDGE_CASES.values(), ids=EDGE_CASES)
def test_edges(case):
    for seed in range(8):
        result = augment_one(seed, make_canvas(make_noise()), **case)
        assert all(np.isfinite(part).all() for part in result)
        if "boxes" in case or "valid" in case:
            assert not result.valid.any()
            assert not result.labels.any()
            assert not result.boxes_xyxy.any()
        if case.get("size") == (0, 0):
            np.testing.assert_allclose(result.image, np.broadcast_to(SMALL.fill, (*OUT, 3)))


def test_padded_slots_stay_padded():
    valid = jnp.array([True, False, True])
    for i in range(8):
        result = augment_one(i, make_canvas(make_noise()), valid=valid)
        assert not result.valid[1]
        assert result.labels[1] == 0
        assert not result.boxes_xyxy[1].any()


def test_warp_agrees_with_pillow():
    image = make_noise()
    warped = warp_jit(make_canvas(image), jnp.array(SIZE), image_size=OUT)
    expected = Image.fromarray(image).resize(OUT[::-1], Image.Resampling.BILINEAR)
    assert np.abs(warped - np.asarray(expected, np.float32)).max() <= 1.01  # it rounds twice


def test_a_photograph_warps_as_with_pillow(shared):
    folder = shared / "data/voc2012_100/VOCdevkit/VOC2012/JPEGImages"
    picture = Image.open(min(folder.glob("*.jpg"))).convert("RGB")
    expected = picture.resize((600, 520), Image.Resampling.BILINEAR)
    size = jnp.array(picture.size[::-1])
    warped = warp_jit(jnp.asarray(np.asarray(picture)), size, image_size=(520, 600))
    assert np.abs(warped - np.asarray(expected, np.float32)).max() <= 1.01


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_size", (0, 300)),
        ("flip_probability", 1.5),
        ("expand_probability", -0.1),
        ("brightness", -1.0),
        ("contrast", (1.5, 0.5)),
        ("saturation", (-0.5, 1.5)),
        ("hue", -18.0),
        ("max_expand", 0.5),
        ("num_trials", 0),
        ("min_crop_scale", 0.0),
        ("crop_aspect", (1.2, 2.0)),
        ("kernels", ()),
        ("kernels", ("bilinear",)),
    ],
)
def test_a_number_out_of_range_is_named(field, value):
    with pytest.raises(ValueError, match=f"augment.AugmentSpec: expected {field} "):
        AugmentSpec(**{field: value})


def test_default_kernels_exist():
    assert set(AugmentSpec().kernels) <= set(resample.KERNELS)
