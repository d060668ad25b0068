import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssd_jax.ops import photometric

NUM_DRAWS = 4000
# Primaries, mixtures, greys, the ends of the range, and two channels that tie for the largest.
COLOURS = [
    *[(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255)],
    *[(0, 0, 0), (255, 255, 255), (128, 128, 128), (1, 0, 0), (254, 255, 255)],
    *[(200, 200, 10), (10, 200, 200), (200, 10, 200), (12, 240, 97), (90, 89, 91)],
]
adjust_saturation_and_hue = jax.jit(photometric.adjust_saturation_and_hue)


def by_colorsys(colour, factor, shift):
    hue, saturation, value = colorsys.rgb_to_hsv(*[float(channel) / 255 for channel in colour])
    turned = (hue + shift / 180) % 1
    return [
        255 * channel for channel in colorsys.hsv_to_rgb(turned, min(saturation * factor, 1), value)
    ]


@given(st.floats(0, 3), st.floats(-400, 400), st.integers(0, 2**31))
def test_saturation_and_hue_agree_with_colorsys(factor, shift, seed):
    drawn = np.random.default_rng(seed).uniform(0, 255, (16, 3))
    image = np.stack([np.array(COLOURS), drawn]).astype(np.float32)
    expected = [[by_colorsys(colour, factor, shift) for colour in row] for row in image]
    actual = adjust_saturation_and_hue(image, np.float32(factor), np.float32(shift))
    np.testing.assert_allclose(actual, expected, atol=0.02)


def test_red_turned_by_60_degrees_is_yellow_and_desaturated_is_white():
    # 30 of the 180 steps are 60 degrees; no saturation leaves the value, 200, in all channels.
    red = jnp.full((1, 1, 3), 0.0).at[..., 0].set(200.0)
    np.testing.assert_allclose(
        adjust_saturation_and_hue(red, 1, 30)[0, 0], [200, 200, 0], atol=1e-3
    )
    np.testing.assert_allclose(adjust_saturation_and_hue(red, 1, -60)[0, 0], [0, 0, 200], atol=1e-3)
    np.testing.assert_allclose(adjust_saturation_and_hue(red, 0, 7)[0, 0], [200] * 3, atol=1e-3)


def test_brightness_and_contrast_saturate():
    image = jnp.array([[[0.0, 100, 250]]])
    np.testing.assert_array_equal(photometric.adjust_brightness(image, 20)[0, 0], [20, 120, 255])
    np.testing.assert_array_equal(photometric.adjust_brightness(image, -20)[0, 0], [0, 80, 230])
    np.testing.assert_array_equal(photometric.adjust_contrast(image, 1.5)[0, 0], [0, 150, 255])
    np.testing.assert_array_equal(photometric.adjust_contrast(image, 0.5)[0, 0], [0, 50, 125])


def draw(image, num_draws=NUM_DRAWS, **options):
    """Many distortions of one image, [num_draws, H, W, 3]; parts not named in options are off."""
    off = {"brightness": 0.0, "contrast": (1.0, 1.0), "saturation": (1.0, 1.0), "hue": 0.0}
    image = jnp.asarray(image, jnp.float32)
    keys = jax.random.split(jax.random.key(3), num_draws)
    distort = jax.jit(jax.vmap(lambda key: photometric.distort(key, image, **(off | options))))
    return np.asarray(distort(keys), np.float64)


def assert_half_unchanged_half_uniform(amount, unchanged, low, high):
    """4.5 standard errors: one run in 150 000 would fail by chance, and the key is fixed."""
    changed = amount[np.abs(amount - unchanged) > 1e-3]
    assert abs(len(changed) / len(amount) - 0.5) < 4.5 * 0.5 / np.sqrt(len(amount))
    assert low - 1e-2 <= changed.min() < low + 0.01 * (high - low)
    assert high - 0.01 * (high - low) < changed.max() <= high + 1e-2
    spread = (high - low) / np.sqrt(12)  # of the uniform distribution
    assert abs(changed.mean() - (low + high) / 2) < 4.5 * spread / np.sqrt(len(changed))
    # The variance of the squared deviation of U(-1, 1) is 1/5 - 1/9 = 4/45.
    deviation = (2 * changed - low - high) / (high - low)
    assert abs(np.mean(deviation**2) - 1 / 3) < 4.5 * np.sqrt(4 / 45 / len(changed))


def test_brightness_is_drawn_half_the_time_from_its_range():
    amount = draw([[[100, 100, 100]]], brightness=32.0)[:, 0, 0, 0] - 100
    assert_half_unchanged_half_uniform(amount, 0, -32, 32)


def test_contrast_is_drawn_half_the_time_from_its_range():
    amount = draw([[[100, 100, 100]]], contrast=(0.5, 1.5))[:, 0, 0, 0] / 100
    assert_half_unchanged_half_uniform(amount, 1, 0.5, 1.5)


def test_saturation_is_drawn_half_the_time_from_its_range():
    low = draw([[[200, 100, 100]]], saturation=(0.5, 1.5))[:, 0, 0, 1]
    assert_half_unchanged_half_uniform((200 - low) / 100, 1, 0.5, 1.5)


def test_hue_is_drawn_half_the_time_from_its_range():
    # From red, +t of 180 steps brings green to t/30 of the value, -t blue.
    colours = draw([[[240, 0, 0]]], hue=18.0)[:, 0, 0]
    assert_half_unchanged_half_uniform((colours[:, 1] - colours[:, 2]) / 240 * 30, 0, -18, 18)


def test_contrast_comes_before_or_after_the_others_by_a_coin_of_its_own():
    # Contrast 1.5 first: (300 -> 255, 150), whose chroma 105 halves to 52.5: the least is 202.5.
    # Saturation first: (200, 100) -> (200, 150); contrast then: (300 -> 255, 225).
    # Turning the hue changes neither the largest channel nor the least, but the one between.
    options = {"contrast": (1.5, 1.5), "saturation": (0.5, 0.5), "hue": 18.0}
    colours = np.sort(draw([[[200, 100, 100]]], **options)[:, 0, 0], axis=1)
    turned = colours[:, 1] - colours[:, 0] > 1e-3
    for least in (202.5, 225):
        for hue in (False, True):
            # Contrast and saturation apply (1/4), in this order (1/2), with or without hue (1/2).
            outcome = (np.abs(colours[:, 0] - least) < 1e-3) & (turned == hue)
            assert abs(outcome.mean() - 1 / 16) < 4.5 * np.sqrt(1 / 16 * 15 / 16 / NUM_DRAWS)


def test_brightness_comes_first():
    # 240 + 32 saturates at 255 before the contrast halves it.
    options = {"brightness": 32.0, "contrast": (0.5, 0.5), "probability": 1.0}
    assert draw([[[240, 240, 240]]], **options).max() == pytest.approx(127.5, abs=1e-3)


def test_the_channels_take_every_order():
    colours = draw([[[30, 60, 90]]], num_draws=600, shuffle_probability=0.5)[:, 0, 0]
    orders, counts = np.unique(colours.round(3), axis=0, return_counts=True)
    assert len(orders) == 6
    # Shuffled or not by a coin, and a sixth of the shuffled keep their order: 1/2 + 1/12.
    unchanged = counts[(orders == [30, 60, 90]).all(axis=1)].item() / 600
    assert abs(unchanged - 7 / 12) < 4.5 * np.sqrt(7 / 12 * 5 / 12 / 600)


def test_probability_zero_changes_nothing():
    image = np.random.default_rng(0).uniform(0, 255, (4, 5, 3))
    options = {"brightness": 32.0, "contrast": (0.5, 1.5), "saturation": (0.5, 1.5), "hue": 18.0}
    results = draw(image, num_draws=8, probability=0.0, **options)
    np.testing.assert_allclose(results, np.broadcast_to(image, (8, 4, 5, 3)), atol=1e-3)


def test_the_range_is_kept_and_the_key_decides():
    image = jnp.asarray(np.random.default_rng(1).integers(0, 256, (8, 8, 3)), jnp.float32)
    distort = jax.jit(photometric.distort)
    results = [distort(jax.random.key(i), image) for i in range(8)]
    assert all(r.min() >= 0 and r.max() <= 255 and r.dtype == jnp.float32 for r in results)
    np.testing.assert_array_equal(results[0], distort(jax.random.key(0), image))
    assert len({np.asarray(r).tobytes() for r in results}) == 8


def test_vmap_equals_a_loop_and_jit_eager():
    images = jnp.asarray(np.random.default_rng(1).uniform(0, 255, (3, 4, 4, 3)), jnp.float32)
    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(photometric.distort))(keys, images)
    alone = [photometric.distort(key, image) for key, image in zip(keys, images, strict=True)]
    np.testing.assert_allclose(together, jnp.stack(alone), atol=1e-2)
