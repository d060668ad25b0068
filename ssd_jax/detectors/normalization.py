"""From pictures to what a network was trained to see; travels with the detector."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ssd_jax import config


def normalize(images: Float[Array, "B H W 3"], spec: config.Input) -> Float[Array, "B H W 3"]:
    """Returns (images - mean) / scale, its channels in the order of the first convolution.

    Args:
      images: RGB, 0-255.
      spec: mean and scale in RGB, and the order.

    Raises:
      ValueError: for an unknown order.
    """
    if spec.channel_order not in ("rgb", "bgr"):
        raise ValueError(
            f"config.input.channel_order: expected 'rgb' or 'bgr', got {spec.channel_order!r}"
        )
    normalized = (images - jnp.asarray(spec.mean)) / jnp.asarray(spec.scale)
    return normalized if spec.channel_order == "rgb" else normalized[..., ::-1]
