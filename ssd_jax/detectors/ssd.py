"""SSD as a detector: every network with one set of predictions per anchor."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ssd_jax.detectors.anchor_detector import AnchorDetector
from ssd_jax.detectors.single_shot import SingleShot
from ssd_jax.models.ssd import SSDModule
from ssd_jax.models.style import Network
from ssd_jax.ops import losses
from ssd_jax.types import Batch, Detections, LossTerms, Predictions, Targets


@dataclasses.dataclass(frozen=True)
class SSDDetector(AnchorDetector):
    """A single-shot network, its default boxes, the multibox objective and its decoder."""

    def loss_sums(self, predictions: Predictions, batch: Batch | Targets) -> tuple[LossTerms]:
        """Returns the multibox loss as sums over the images; see `Detector.loss_sums`."""
        anchors = self.trained_anchors
        predictions = self.trained(predictions)

        def of_one_image(
            offsets: Array, logits: Array, boxes_xyxy: Array, labels: Array, valid: Array
        ) -> LossTerms:
            matches = self.objective.match(boxes_xyxy, valid, anchors)
            return self.objective.loss(offsets, logits, boxes_xyxy, labels, matches, anchors)

        terms = jax.vmap(of_one_image)(
            predictions.offsets, predictions.logits, batch.boxes_xyxy, batch.labels, batch.valid
        )
        return (jax.tree.map(jnp.sum, terms),)

    def normalize_loss(self, sums: tuple[LossTerms]) -> LossTerms:
        """Returns the loss of a batch from its sums; see `Detector.normalize_loss`."""
        return losses.normalize(*sums)

    def detect(self, predictions: Predictions) -> Detections:
        """Returns each image's detections; see `Detector.detect`."""

        def of_one_image(offsets: Array, logits: Array) -> Detections:
            boxes = self.objective.decode(offsets, self.anchors)
            return self.decoder.suppress(boxes, self.class_scores(logits))

        return jax.vmap(of_one_image)(*predictions)


@dataclasses.dataclass(frozen=True)
class SSD(SingleShot):
    """SSD, MobileNet-SSD and SSDLite; with the neck "deconvolution" DSSD; see `SingleShot`."""

    detector: ClassVar[type] = SSDDetector

    def network(self, boxes_per_cell: Sequence[int]) -> Network:
        """Returns the whole network, images -> Predictions."""
        return SSDModule(
            maps=self.sources(),
            neck=self.neck.module(self.style()),
            heads=self.heads,
            boxes_per_cell=tuple(boxes_per_cell),
            num_classes=self.num_classes,
            style=self.style(),
        )
