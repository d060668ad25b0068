"""The objective of one set of predictions: matching, mining and the multibox loss."""

import dataclasses
from typing import Annotated, Any

from jaxtyping import Array, Bool, Float, Int

from ssd_jax.detectors.losses import (
    CONFIDENCE_LOSSES,
    LOCALIZATION_LOSSES,
    SmoothL1,
    Softmax,
)
from ssd_jax.ops import coding, losses, matching
from ssd_jax.types import AnyArray, LossTerms, Matches


@dataclasses.dataclass(frozen=True)
class Multibox:
    """Matching, mining and the multibox loss (SSD, section 2.2).

    Attributes:
        iou_threshold: an anchor with this IoU is matched.
        border_anchors: train the anchors that cross the image's border.
        confidence: the loss of the class scores, and how they are read.
        localization: the loss of the offsets.
        alpha: the weight of the localisation part.
        variances: what the offsets are divided by.
    """

    iou_threshold: float = 0.5
    border_anchors: bool = True
    confidence: Annotated[Any, CONFIDENCE_LOSSES] = Softmax()
    localization: Annotated[Any, LOCALIZATION_LOSSES] = SmoothL1()
    alpha: float = 1.0
    variances: tuple[float, float, float, float] = coding.VARIANCES

    def match(
        self, boxes_xyxy: Float[Array, "G 4"], valid: Bool[Array, " G"], anchors: AnyArray
    ) -> Matches:
        """Returns the matches of one image's objects with anchors, cxcywh."""
        return matching.match(boxes_xyxy, valid, anchors, iou_threshold=self.iou_threshold)

    def loss(
        self,
        offsets: Float[Array, "A 4"],
        logits: Float[Array, "A C"],
        boxes_xyxy: Float[Array, "G 4"],
        labels: Int[Array, " G"],
        matches: Matches,
        anchors: AnyArray,
        eligible: Bool[Array, " A"] | None = None,
    ) -> LossTerms:
        """Returns the loss of one image as sums over its anchors; see `ops.losses.multibox`."""
        return losses.multibox(
            offsets,
            logits,
            boxes_xyxy,
            labels,
            matches,
            anchors,
            eligible=eligible,
            negative_iou=self.iou_threshold,
            negative_ratio=self.confidence.negative_ratio,
            localization=self.localization.loss,
            confidence=self.confidence.loss,
            alpha=self.alpha,
            variances=self.variances,
        )

    def decode(self, offsets: Float[Array, "A 4"], anchors: AnyArray) -> Float[Array, "A 4"]:
        """Returns the boxes, xyxy, that offsets from anchors stand for."""
        return coding.decode(offsets, anchors, variances=self.variances)
