import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ssd_jax.ops import resample

HEIGHT, WIDTH = 23, 31
PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "linear": Image.Resampling.BILINEAR,
    "catmull_rom": Image.Resampling.BICUBIC,
    "lanczos3": Image.Resampling.LANCZOS,
}
OUT_SIZES = {"down": (9, 14), "up": (50, 77), "mixed": (60, 8), "same": (HEIGHT, WIDTH)}
WINDOWS = {"whole": (0, 0, WIDTH, HEIGHT), "part": (3.3, 1.75, 25.1, 20.6), "thin": (4, 5, 5.5, 23)}


def make_image(height=HEIGHT, width=WIDTH, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)


@functools.partial(
    jax.jit,
    static_argnames=("out_size", "kernel", "fill", "antialias", "confined", "max_window"),
)
def resample_jit(image, window, out_size, kernel, **options):
    return resample.resample(image, window, out_size, kernel=kernel, **options)


@functools.partial(
    jax.jit,
    static_argnames=("kernel", "out_size", "in_size", "antialias", "confined", "max_window"),
)
def weights_jit(kernel, out_size, in_size, start, stop, **options):
    return resample.weights(kernel, out_size, in_size, start, stop, **options)


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
@pytest.mark.parametrize("out_size", OUT_SIZES.values(), ids=OUT_SIZES)
@pytest.mark.parametrize("kernel", PILLOW)
def test_agrees_with_pillow(kernel, out_size, window):
    # In float and so by channels, as Pillow's 8-bit arithmetic is coarser than the tolerance.
    image = make_image()
    planes = [Image.fromarray(plane) for plane in np.moveaxis(image, 2, 0)]
    planes = [plane.resize(out_size[::-1], PILLOW[kernel], box=window) for plane in planes]
    expected = np.stack([np.asarray(plane) for plane in planes], axis=-1)

    options = {"choice": tuple(PILLOW).index(kernel), "antialias": True, "confined": False}
    x0, y0, x1, y1 = np.float32(window)
    actual = resample_jit(image, jnp.array([x0, y0, x1, y1]), out_size, tuple(PILLOW), **options)
    np.testing.assert_allclose(actual, expected, atol=0.01)
    flipped = resample_jit(image, jnp.array([x1, y0, x0, y1]), out_size, tuple(PILLOW), **options)
    np.testing.assert_array_equal(flipped, actual[:, ::-1])


@pytest.mark.parametrize("kernel", PILLOW)
def test_agrees_with_pillow_on_8_bit_pictures(kernel):
    # In the middle of the range: Pillow also clips what overshoots between rows and columns.
    image = (60 + make_image() / 2).astype(np.uint8)
    expected = Image.fromarray(image).resize((14, 40), PILLOW[kernel])
    window = jnp.array([0.0, 0, WIDTH, HEIGHT])
    actual = resample_jit(image, window, (40, 14), kernel, antialias=True)
    # It rounds after the columns and after the rows, whose weights' magnitudes sum to up to 1.4.
    assert np.abs(actual - np.asarray(expected, np.float32)).max() <= 0.5 * 1.4 + 0.5


def test_weights_halfway_between_two_pixels():
    # Enlarging 8 pixels to 8 from .5 to 8.5 puts output 3 at 4.0, between the pixels 3 and 4:
    # distances .5, 1.5, 2.5, 3.5 either way.
    def row(kernel):
        choice = resample.KERNELS.index(kernel)
        return weights_jit(resample.KERNELS, 8, 8, 0.5, 8.5, choice=choice, confined=False)[3]

    np.testing.assert_allclose(row("linear"), [0, 0, 0, 0.5, 0.5, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(row("area"), [0, 0, 0, 0.5, 0.5, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(row("nearest"), [0, 0, 0, 0, 1, 0, 0, 0], atol=1e-6)
    # a = -.75: 1.25/8 - 2.25/4 + 1 = .59375; -.75 (3.375 - 11.25 + 12 - 4) = -.09375.
    cubic = [0, 0, -0.09375, 0.59375, 0.59375, -0.09375, 0, 0]
    np.testing.assert_allclose(row("cubic"), cubic, atol=1e-6)
    # a = -.5: 1.5/8 - 2.5/4 + 1 = .5625; -.5 (3.375 - 11.25 + 12 - 4) = -.0625.
    catmull_rom = [0, 0, -0.0625, 0.5625, 0.5625, -0.0625, 0, 0]
    np.testing.assert_allclose(row("catmull_rom"), catmull_rom, atol=1e-6)
    # sin(pi x) is +-1 at half distances, so the weights go as +-sin(pi x / 4) / x^2:
    # .3827/.25, -.9239/2.25, .9239/6.25, -.3827/12.25; divided by twice their sum, 2.4734.
    half = np.array([1.53073, -0.41061, 0.14782, -0.03124]) / 2.4734
    np.testing.assert_allclose(row("lanczos4"), [*half[::-1], *half], atol=1e-5)


@given(st.floats(0, 12), st.floats(0.2, 12), st.sampled_from([3, 40]))
def test_area_is_the_mean_of_what_a_pixel_covers(start, length, out_size):
    values = make_image(1, 24)[0, :, 0].astype(np.float64)
    integral = np.concatenate([[0], np.cumsum(values)])
    edges = np.linspace(start, start + length, out_size + 1)
    expected = np.diff(np.interp(edges, np.arange(25), integral)) / (length / out_size)
    matrix = weights_jit("area", out_size, 24, np.float32(start), np.float32(start + length))
    np.testing.assert_allclose(matrix @ values, expected, atol=0.05)


def test_linear_without_antialias_reads_two_pixels():
    values = make_image(1, 100)[0, :, 0]
    centres = 10.25 + (np.arange(7) + 0.5) * 80 / 7
    expected = np.interp(centres, np.arange(100) + 0.5, values)
    matrix = weights_jit("linear", 7, 100, 10.25, 90.25)
    np.testing.assert_allclose(matrix @ values, expected, atol=0.01)
    assert (np.count_nonzero(matrix, axis=1) == 2).all()


whole_windows = st.tuples(
    st.integers(-20, 20), st.integers(1, 40), st.integers(-20, 20), st.integers(1, 40)
)


@pytest.mark.parametrize("antialias", [False, True])
@given(whole_windows, st.integers(0, len(resample.KERNELS) - 1))
def test_one_map_equals_padding_cropping_and_resizing_in_turn(antialias, window, choice):
    x, w, y, h = window
    out_size, fill = (12, 10), (10.0, 200.0, 90.0)
    image = make_image(16, 20)
    padded = np.full((16 + 100, 20 + 100, 3), fill, np.float32)
    padded[50:66, 50:70] = image
    part = padded[y + 50 : y + 50 + h, x + 50 : x + 50 + w]
    canvas = np.zeros((64, 64, 3), np.float32)  # one shape for all parts, so one compilation
    canvas[:h, :w] = part

    options = {"kernel": resample.KERNELS, "choice": choice, "antialias": antialias}
    in_turn = resample_jit(
        canvas, jnp.array([0.0, 0, w, h]), out_size, size=jnp.array([h, w]), **options
    )
    at_once = resample_jit(
        image,
        jnp.array([x, y, x + w, y + h], jnp.float32),
        out_size,
        fill=fill,
        max_window=3.0,
        **options,
    )
    np.testing.assert_allclose(at_once, in_turn, atol=0.02)


@pytest.mark.parametrize("antialias", [False, True])
@given(
    st.tuples(*[st.floats(-30, 50, width=32)] * 4),
    st.sampled_from(resample.KERNELS),
    st.sampled_from([(0, 0), (1, 1), (16, 20), (5, 20)]),
)
def test_a_plain_image_only_mixes_with_the_fill(antialias, window, kernel, size):
    # Whatever the window, flipped, empty or far outside. White on black, so the result is the
    # image's share; what lies behind the image would be far brighter.
    image = np.full((16, 20, 1), 1000.0, np.float32)
    image[: size[0], : size[1]] = 1
    share = resample_jit(
        image,
        jnp.array(window, jnp.float32),
        (12, 10),
        kernel=resample.KERNELS,
        choice=resample.KERNELS.index(kernel),
        size=jnp.array(size),
        antialias=antialias,
    )
    # Only the kernels with negative lobes overshoot, and then by no more than their lobes' share.
    overshoot = 1e-4 if kernel in ("nearest", "box", "area", "linear") else 0.6
    assert share.min() >= -overshoot
    assert share.max() <= 1 + overshoot
    if size == (0, 0):
        assert not share.any()


@pytest.mark.parametrize("kernel", resample.KERNELS)
@pytest.mark.parametrize("antialias", [False, True])
def test_rows_sum_to_one_inside_and_to_zero_outside(kernel, antialias):
    options = {"choice": resample.KERNELS.index(kernel), "antialias": antialias}
    matrix = weights_jit(resample.KERNELS, 6, 9, 1.3, 8.2, **options)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)
    assert not matrix[:, 0].any()  # confined: pixel 0 lies outside of the window
    assert not np.any(weights_jit(resample.KERNELS, 6, 9, 12.0, 20.0, **options))


@pytest.mark.parametrize("choice", range(len(resample.KERNELS)), ids=resample.KERNELS)
def test_pixels_behind_the_image_do_not_show(choice):
    image, size = make_image(16, 20), jnp.array([16, 20])
    zeros, garbage = np.zeros((30, 33, 3), np.float32), np.full((30, 33, 3), 255, np.float32)
    zeros[:16, :20] = garbage[:16, :20] = image
    window = jnp.array([-5.5, 3, 24, 18.7])
    options = {"kernel": resample.KERNELS, "choice": choice, "size": size}
    np.testing.assert_array_equal(
        resample_jit(zeros, window, (12, 10), **options),
        resample_jit(garbage, window, (12, 10), **options),
    )


def test_max_window_bounds_the_averaging_and_nothing_else():
    weights = functools.partial(weights_jit, "area", 4, 16, -24.0, 40.0)
    # 64 pixels to 4: each output averages 16, so the two in the middle see 8 of the image's each.
    wide = weights(max_window=4.0)
    np.testing.assert_allclose(wide[1], [*[1 / 16] * 8, *[0] * 8], atol=1e-6)
    np.testing.assert_allclose(wide, weights(max_window=5.0), atol=1e-6)
    # With a quarter of that, each averages the 4 around its centre: pixels -2 to 2, 14 to 18.
    narrow = weights(max_window=1.0)
    np.testing.assert_allclose(narrow[1], [0.25, 0.25, *[0] * 14], atol=1e-6)
    np.testing.assert_allclose(narrow[2], [*[0] * 14, 0.25, 0.25], atol=1e-6)


@pytest.mark.parametrize("kernel", resample.KERNELS)
def test_a_traced_choice_is_the_named_kernel(kernel):
    axis = (12, WIDTH, 40.25, 2.5)
    options = {"extent": 29, "antialias": True, "max_window": 2.0}
    choice = resample.KERNELS.index(kernel)
    chosen = weights_jit(resample.KERNELS, *axis, choice=choice, **options)
    np.testing.assert_allclose(chosen, weights_jit(kernel, *axis, **options), atol=1e-5)


def test_vmap_equals_a_loop_and_jit_eager():
    # Rows and columns of the same length halve what the eager calls compile.
    images = jnp.stack([make_image(24, 24, seed=i) for i in range(3)])
    windows = jnp.array([[0, 0, 24.0, 24], [24, 0, 0, 24], [-9, -8.5, 40, 60]])
    sizes = jnp.array([[24, 24], [10, 12], [23, 5]])
    choices = jnp.array([0, 1, 2])

    def one(image, window, size, choice):
        kernels = ("lanczos4", "nearest", "area")
        return resample.resample(image, window, (8, 8), kernel=kernels, choice=choice, size=size)

    together = jax.jit(jax.vmap(one))(images, windows, sizes, choices)
    alone = [one(*arguments) for arguments in zip(images, windows, sizes, choices, strict=True)]
    np.testing.assert_allclose(together, jnp.stack(alone), atol=1e-3)


@pytest.mark.parametrize("choice", range(len(resample.KERNELS)), ids=resample.KERNELS)
def test_an_image_of_one_pixel_fills_its_window(choice):
    image, window = np.array([[[9, 8, 7]]], np.float32), jnp.array([0.0, 0, 1, 1])
    result = resample_jit(image, window, (4, 5), resample.KERNELS, choice=choice)
    np.testing.assert_allclose(result, np.broadcast_to(image, (4, 5, 3)), atol=1e-5)


def test_wrong_arguments_are_named():
    image, window = jnp.zeros((4, 4, 3)), jnp.array([0.0, 0, 4, 4])
    with pytest.raises(ValueError, match=r"resample.weights: expected kernels of .*'bilinear'"):
        resample.resample(image, window, (2, 2), kernel="bilinear")
    with pytest.raises(ValueError, match=r"resample.weights: expected kernels"):
        resample.weights((), 2, 4, 0.0, 4.0)
    with pytest.raises(ValueError, match=r"resample.resample: expected a fill of 3 numbers"):
        resample.resample(image, window, (2, 2), kernel="linear", fill=(1.0, 2.0))
