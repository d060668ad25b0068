"""Random distortion of an image's colours, on RGB from 0 to 255.

As the released SSD does it, but in floating point: values are clipped to [0, 255] where its 8-bit
arithmetic saturates, and not rounded between the steps. A hue turned past red goes round the wheel,
where the released code stops at red.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, ScalarLike

Image = Float[Array, "H W 3"]


def adjust_brightness(image: Image, delta: ScalarLike) -> Image:
    """Returns the image with `delta` added, clipped to [0, 255].

    >>> adjust_brightness(jnp.array([[[10.0, 100.0, 250.0]]]), 20).tolist()
    [[[30.0, 120.0, 255.0]]]
    """
    return jnp.clip(image + delta, 0, 255)


def adjust_contrast(image: Image, factor: ScalarLike) -> Image:
    """Returns the image multiplied by `factor`, clipped to [0, 255]; black stays black.

    >>> adjust_contrast(jnp.array([[[10.0, 100.0, 250.0]]]), 2).tolist()
    [[[20.0, 200.0, 255.0]]]
    """
    return jnp.clip(image * factor, 0, 255)


def adjust_saturation_and_hue(image: Image, factor: ScalarLike, shift: ScalarLike) -> Image:
    """Returns the image with its saturation multiplied and its hue turned, in HSV.

    Args:
        image: RGB, [0, 255].
        factor: of the saturation, which is clipped to 1.
        shift: of the hue, on OpenCV's wheel of 180 steps of 2 degrees; any sign and size.
    """
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    # The hue in sixths of the wheel: 0 red, 2 green, 4 blue. A grey's is arbitrary: no chroma.
    is_red, is_green = value == red, value == green
    slope = jnp.where(is_red, green - blue, jnp.where(is_green, blue - red, red - green))
    hue = jnp.where(is_red, 0.0, jnp.where(is_green, 2.0, 4.0))
    hue = hue + slope / jnp.where(chroma > 0, chroma, 1) + shift / 30
    hue = hue - 6 * jnp.floor(hue / 6)

    chroma = jnp.minimum(chroma * factor, value)
    ramps = (jnp.abs(hue - 3) - 1, 2 - jnp.abs(hue - 2), 2 - jnp.abs(hue - 4))
    planes = [value - chroma * (1 - jnp.clip(ramp, 0, 1)) for ramp in ramps]
    return jnp.stack(planes, axis=-1)


def distort(
    key: PRNGKeyArray,
    image: Image,
    *,
    probability: float = 0.5,
    brightness: float = 32.0,
    contrast: tuple[float, float] = (0.5, 1.5),
    saturation: tuple[float, float] = (0.5, 1.5),
    hue: float = 18.0,
    shuffle_probability: float = 0.0,
) -> Image:
    """Returns the image with its colours distorted at random (SSD, released `ApplyDistort`).

    Brightness comes first; then, by a coin, contrast, saturation and hue, or saturation, hue and
    contrast; then the shuffle of the channels.

    Args:
        key: of the random choices.
        image: RGB, [0, 255].
        probability: of each of the four changes, apart.
        brightness: the largest change, either way.
        contrast: range of the factor.
        saturation: range of the factor.
        hue: the largest turn, either way, in steps of 2 degrees.
        shuffle_probability: of the channels taking a random order.
    """
    draw_key, shuffle_key, order_key = jax.random.split(key, 3)
    u = jax.random.uniform(draw_key, (9,))
    low = jnp.array([-brightness, contrast[0], saturation[0], -hue])
    high = jnp.array([brightness, contrast[1], saturation[1], hue])
    amount = low + u[:4] * (high - low)
    unchanged = jnp.array([0.0, 1.0, 1.0, 0.0])
    amount = jnp.where(u[4:8] < probability, amount, unchanged)
    delta, contrast_factor, saturation_factor, hue_shift = amount
    contrast_first = u[8] < 0.5

    image = adjust_brightness(image, delta)
    image = adjust_contrast(image, jnp.where(contrast_first, contrast_factor, 1.0))
    image = adjust_saturation_and_hue(image, saturation_factor, hue_shift)
    image = adjust_contrast(image, jnp.where(contrast_first, 1.0, contrast_factor))
    if shuffle_probability > 0:
        shuffled = jax.random.permutation(order_key, image, axis=-1)
        image = jnp.where(jax.random.bernoulli(shuffle_key, shuffle_probability), shuffled, image)
    return image
