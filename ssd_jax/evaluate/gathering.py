"""The detections of all processes, on the first one."""

import io
from collections.abc import Mapping

import jax
import numpy as np

from ssd_jax.agreement import gather_on_first_process
from ssd_jax.inference import ImageDetections

_NONE = ImageDetections("", np.zeros((0, 4)), np.zeros(0, np.float32), np.zeros(0, np.int32))


def gather(found: Mapping[int, ImageDetections]) -> dict[int, ImageDetections]:
    """Returns the detections of every process on the first one, and none elsewhere.

    All processes call this at the same place. Nothing is rounded on the way.

    Args:
        found: what this process detected, by the image's number in its source.
    """
    if jax.process_count() == 1:
        return dict(found)
    gathered: dict[int, ImageDetections] = {}
    for part in gather_on_first_process(pack(found)):
        gathered |= unpack(part)
    return gathered


def pack(found: Mapping[int, ImageDetections]) -> bytes:
    """Returns the detections of images as bytes, without padding."""
    image_ids, boxes, scores, labels = zip(*found.values(), _NONE, strict=True)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        index=np.array(list(found), np.int64),
        image_ids=np.array(image_ids[:-1], np.str_),
        ends=np.cumsum([len(one) for one in scores[:-1]], dtype=np.int64),
        boxes=np.concatenate(boxes),
        scores=np.concatenate(scores),
        labels=np.concatenate(labels),
    )
    return buffer.getvalue()


def unpack(part: bytes) -> dict[int, ImageDetections]:
    """Returns what `pack` was given."""
    with np.load(io.BytesIO(part)) as arrays:
        index, image_ids = arrays["index"].tolist(), arrays["image_ids"].tolist()
        fields = [
            np.split(arrays[name], arrays["ends"])[:-1] for name in ("boxes", "scores", "labels")
        ]
    images = map(ImageDetections, image_ids, *fields)
    return dict(zip(index, images, strict=True))
