"""The anchors that an annotated picture trains, and drawings of them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from ssd_jax import config, draw
from ssd_jax.data.records import Record, Source
from ssd_jax.detectors import anchor_spec
from ssd_jax.ops import boxes, matching
from ssd_jax.ops.anchors import generate

_match = jax.jit(matching.match, static_argnames="iou_threshold")


class MatchedAnchors(NamedTuple):
    """The anchors that are positive for the objects of one picture."""

    boxes_xyxy: Float[np.ndarray, "n 4"]  # normalised
    gt_index: Int[np.ndarray, " n"]  # the object each is trained towards
    iou: Float[np.ndarray, " n"]  # with the best object


def matched_anchors(
    record: Record, anchors_cxcywh: Float[np.ndarray, "A 4"], *, iou_threshold: float
) -> MatchedAnchors:
    """Returns the positive anchors of a picture that is warped whole to the network's input.

    Crowds take no part. The threshold is the matching's, `config.loss.iou_threshold`.
    """
    if not len(record.labels):
        return MatchedAnchors(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))
    arrays = map(jnp.asarray, (record.boxes_xyxy, ~record.crowd, anchors_cxcywh))
    matches = jax.device_get(_match(*arrays, iou_threshold=iou_threshold))
    corners = np.asarray(boxes.cxcywh_to_xyxy(anchors_cxcywh))
    positive = matches.positive
    return MatchedAnchors(corners[positive], matches.gt_index[positive], matches.iou[positive])


def picture(record: Record, matched: MatchedAnchors, class_names: tuple[str, ...]) -> Image.Image:
    """Returns the picture with its objects, dashed, and their anchors in the class's colour."""
    pixels = record.decode()
    height, width = pixels.shape[:2]
    scale = np.array((width, height, width, height), np.float64)
    annotated = draw.draw_ground_truth(
        pixels, record.boxes_xyxy * scale, record.labels, class_names
    )
    labels = record.labels[matched.gt_index]
    return draw.draw_anchors(annotated, matched.boxes_xyxy * scale, labels)


def sheet(experiment: config.Experiment, source: Source, most: int) -> Image.Image:
    """Returns at most `most` pictures of a data set, the first, with their trained anchors."""
    anchors, pictures = generate(anchor_spec(experiment)), []
    for record in (source[i] for i in range(min(most, len(source)))):
        matched = matched_anchors(record, anchors, iou_threshold=experiment.loss.iou_threshold)
        pictures.append(picture(record, matched, source.class_names))
    return draw.contact_sheet(pictures, columns=3)
