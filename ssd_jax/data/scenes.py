"""Scenes that are drawn at random, as an annotated data set with the splits `train` and `val`.

Every scene is a function of (seed, split, number) alone, so none comes twice and any can be drawn
again.
"""

import dataclasses
import io

import numpy as np
from PIL import Image

from ssd_jax.data.examples import Example, Object, make_example


@dataclasses.dataclass(kw_only=True)
class Scenes:
    """What all kinds of scenes have in common."""

    num_train: int
    num_val: int
    image_size: int  # side of the square pictures, in pixels
    object_size: tuple[float, float]  # smallest and largest longer side, as a part of that side
    max_objects: int  # the most on a scene; their number is uniform from 1
    seed: int = 0  # another one gives other scenes

    def __post_init__(self) -> None:
        """Raises a ValueError for sizes that are no parts of a picture."""
        if not 0 < self.object_size[0] <= self.object_size[1] <= 1:
            raise ValueError(
                f"{type(self).__name__}: expected 0 < smallest <= largest <= 1, "
                f"got {self.object_size}"
            )
        self.split_sizes = {"train": self.num_train, "val": self.num_val}

    def generator(self, split: str, number: int) -> np.random.Generator:
        """Returns the random numbers of a scene."""
        return np.random.default_rng((self.seed, tuple(self.split_sizes).index(split), number))


def encoded(
    split: str, number: int, pixels: np.ndarray, objects: list[Object], *, jpeg_quality: int
) -> Example:
    """Returns a scene that was drawn, uint8[H, W, 3], and the objects on it, as a JPEG."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=jpeg_quality)
    return make_example(
        image_id=f"{split}_{number:06d}",
        filename=f"{split}_{number:06d}.jpg",
        image=stream.getvalue(),
        upright_size=pixels.shape[:2],
        annotated_size=pixels.shape[:2],
        turn=1,
        objects=objects,
    )
