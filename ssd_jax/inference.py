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

    It warps to the input size, predicts and suppresses. The batch is split over the mesh, and so
    are the detections. No device asks another for anything: a loop of the suppression ends when
    the device's own images are done.
    """

    def detect(variables: PyTree, canvas: Array, size: Array) -> Detections:
        def to_input(canvas: Array, size: Array) -> Array:
            return warp(canvas, size, image_size=detector.image_size)

        predictions, _ = detector.apply(variables, jax.vmap(to_input)(canvas, size), train=False)
        return detector.detect(predictions)

    whole, split = replicated(mesh), batch_split(mesh)
    on_each_device = jax.shard_map(
        detect,
        mesh=mesh,
        in_specs=(whole.spec, split.spec, split.spec),
        out_specs=split.spec,
        # The ops know of no mesh, and their loops begin with constants, which the check refuses.
        check_vma=False,
    )
    return jax.jit(on_each_device, in_shardings=(whole, split, split), out_shardings=split)


def in_pixels(found: Detections, image_id: str, height: int, width: int) -> ImageDetections:
    """Returns one image's valid detections in pixels of its original picture, clipped to it.

    A box of which nothing is left inside the picture is dropped.
    """
    unit = np.array((width, height) * 2, np.float64)
    boxes = np.clip(found.boxes_xyxy.astype(np.float64), 0, 1) * unit
    is_empty = (boxes[:, 2:] - boxes[:, :2] < LEAST_SIDE).any(axis=1)  # not so for a NaN
    kept = found.valid & ~is_empty
    return ImageDetections(image_id, boxes[kept], found.scores[kept], found.labels[kept])
