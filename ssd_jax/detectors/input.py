"""From pictures to what a network was trained to see; travels with the detector."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float


@dataclasses.dataclass(frozen=True)
class Input:
    """What the network was trained to see.

    Attributes:
        mean: what is subtracted from the pixels, RGB, on 0-255.
        scale: what divides them afterwards, RGB.
        channel_order: the order that the first convolution reads, "rgb" or "bgr"; pictures are
            always RGB.
    """

    mean: tuple[float, float, float] = (123.0, 117.0, 104.0)
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channel_order: str = "rgb"

    def __post_init__(self) -> None:
        """Refuses an unknown order."""
        if self.channel_order not in ("rgb", "bgr"):
            raise ValueError(
                f"Input.channel_order: expected 'rgb' or 'bgr', got {self.channel_order!r}"
            )

    def standardize(self, images: Float[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
        """Returns (images - mean) / scale in the order of the first convolution.

        Args:
            images: RGB, 0-255.
        """
        standardized = (images - jnp.asarray(self.mean)) / jnp.asarray(self.scale)
        return standardized if self.channel_order == "rgb" else standardized[..., ::-1]
