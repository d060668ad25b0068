"""The shape legend, and the structures that travel between the rooms of the library.

Shape letters, the same in every file:

====  ==========================================================
B     images in a batch
A     anchors (default boxes) of a detector
G     ground-truth slots of an image, padded; `valid` says which are real
C     classes, background included as class 0
K     candidate boxes of one suppression
N     detections of an image, padded; `valid` says which are real
H W   rows and columns of an image, a canvas or a feature map
====  ==========================================================

Boxes carry their format in their name. `boxes_xyxy` is (x0, y0, x1, y1), normalised to [0, 1] by
the width and the height of the image, float32. `anchors_cxcywh` is (centre x, centre y, width,
height) in the same units. `offsets` are variance-coded differences from an anchor. Pixels exist
only in readers, evaluators and pictures.
"""

from typing import NamedTuple

import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, UInt8

# A function that takes either: numpy on the host, jax inside a compiled program.
AnyArray = Array | np.ndarray


class Matches(NamedTuple):
    """Which object each anchor of one image is trained towards."""

    gt_index: Int[Array, " A"]  # the matched object, or the one of best overlap where not positive
    positive: Bool[Array, " A"]
    iou: Float[Array, " A"]  # best IoU of the anchor with any real object, 0 where there is none


class LossTerms(NamedTuple):
    """The parts of a multibox loss, as scalars (of one image: sums; of a batch: normalised)."""

    total: Float[Array, ""]
    localization: Float[Array, ""]
    confidence: Float[Array, ""]
    num_positives: Float[Array, ""]


class RefinedLossTerms(NamedTuple):
    """The parts of RefineDet's loss over a batch: of the refinement (ARM) and of the detection.

    A part that the network does not predict is None.
    """

    total: Float[Array, ""]
    arm_localization: Float[Array, ""] | None
    arm_confidence: Float[Array, ""] | None
    arm_num_positives: Float[Array, ""] | None
    localization: Float[Array, ""]
    confidence: Float[Array, ""]
    num_positives: Float[Array, ""]


class Kept(NamedTuple):
    """What a suppression kept, by falling score, padded to a fixed length."""

    index: Int[Array, " N"]  # into the candidates; 0 where not valid
    valid: Bool[Array, " N"]


class Detections(NamedTuple):
    """The detections of one image by falling score, padded to a fixed length."""

    boxes_xyxy: Float[Array, "*B N 4"]
    scores: Float[Array, "*B N"]
    labels: Int[Array, "*B N"]  # 1 .. C-1; 0 where not valid
    valid: Bool[Array, "*B N"]


class Batch(NamedTuple):
    """What the loader hands to the device: untouched pixels on a fixed canvas, padded objects."""

    index: Int[AnyArray, " B"]  # the record's number in its source; -1 for a slot that pads a batch
    canvas: UInt8[AnyArray, "B H W 3"]  # RGB; the image fills the upper left `size` part
    size: Int[AnyArray, "B 2"]  # height, width of the image on the canvas, pixels
    boxes_xyxy: Float[AnyArray, "B G 4"]  # normalised by `size`
    labels: Int[AnyArray, "B G"]  # 1 .. C-1; 0 where not valid
    valid: Bool[AnyArray, "B G"]


class Targets(NamedTuple):
    """The objects of a batch of images, as a loss wants them (a Batch has the same fields)."""

    boxes_xyxy: Float[Array, "B G 4"]
    labels: Int[Array, "B G"]
    valid: Bool[Array, "B G"]


class Predictions(NamedTuple):
    """What a single-shot network says about every anchor of a batch of images."""

    offsets: Float[Array, "B A 4"]
    logits: Float[Array, "B A C"]


class RefinedPredictions(NamedTuple):
    """What RefineDet says about every anchor: of the anchor itself, and of it once refined."""

    arm_offsets: Float[Array, "B A 4"] | None  # from the anchors; None without the cascade
    arm_logits: Float[Array, "B A 2"] | None  # nothing, object; None without negative filtering
    offsets: Float[Array, "B A 4"]  # from the refined anchors
    logits: Float[Array, "B A C"]
