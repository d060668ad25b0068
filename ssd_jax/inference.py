"""The compiled way from a picture to its detections, for evaluation, prediction and export."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, PyTree

from ssd_jax.data.augment import warp
from ssd_jax.detectors import Detector
from ssd_jax.sharding import batch_split, replicated
from ssd_jax.types import Detections

DetectStep = Callable[[PyTree, Array, Array], Detections]

# Pixels. A box narrower than detections.json can write has no area.
LEAST_SIDE = 1e-3


class ImageDetections(NamedTuple):
    """What a detector found in one image."""

    image_id: str
    boxes_xyxy: np.ndarray  # float[n, 4], continuous pixels of the original image
    scores: np.ndarray  # float[n]
    labels: np.ndarray  # int[n], 1 .. C-1


def make_detect_step(detector: Detector, mesh: Mesh) -> DetectStep:
    """Returns the jitted (variables, canvas uint8[B, H, W, 3], size int[B, 2]) -> Detections.

    It warps to the input size, predicts and suppresses. The batch is split over the mesh and every
    device receives all detections, so that each process can score the whole data set.
    """

    def detect(variables: PyTree, canvas: Array, size: Array) -> Detections:
        def to_input(canvas: Array, size: Array) -> Array:
            return warp(canvas, size, image_size=detector.image_size)

        predictions, _ = detector.apply(variables, jax.vmap(to_input)(canvas, size), train=False)
        return detector.detect(predictions)

    batch = batch_split(mesh)
    return jax.jit(
        detect, in_shardings=(replicated(mesh), batch, batch), out_shardings=replicated(mesh)
    )


def in_pixels(found: Detections, image_id: str, height: int, width: int) -> ImageDetections:
    """Returns one image's valid detections in pixels of its original picture, clipped to it.

    A box of which nothing is left inside the picture is dropped.
    """
    unit = np.array((width, height) * 2, np.float64)
    boxes = np.clip(found.boxes_xyxy.astype(np.float64), 0, 1) * unit
    is_empty = (boxes[:, 2:] - boxes[:, :2] < LEAST_SIDE).any(axis=1)  # not so for a NaN
    kept = found.valid & ~is_empty
    return ImageDetections(image_id, boxes[kept], found.scores[kept], found.labels[kept])
