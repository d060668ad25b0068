"""RefineDet as a detector: two steps of regression, and filtering between them.

Zhang et al., "Single-Shot Refinement Neural Network for Object Detection", sections 3 and 3.1.
"""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ssd_jax.detectors.anchor_detector import AnchorDetector
from ssd_jax.detectors.single_shot import SingleShot
from ssd_jax.models.necks import NECKS
from ssd_jax.models.refinedet import RefineDetModule
from ssd_jax.models.style import Network
from ssd_jax.models.transfer_connections import TransferConnections
from ssd_jax.ops import boxes, losses
from ssd_jax.registry import changeable
from ssd_jax.types import (
    Batch,
    Detections,
    LossTerms,
    RefinedLossTerms,
    RefinedPredictions,
    Targets,
)


@dataclasses.dataclass(frozen=True)
class RefineDetDetector(AnchorDetector):
    """A network of two modules: the ARM filters and moves the anchors, the ODM detects from them.

    A part that the ablation switched off is absent: its predictions and its losses are None.
    """

    def loss_sums(
        self, predictions: RefinedPredictions, batch: Batch | Targets
    ) -> tuple[LossTerms, LossTerms]:
        """Returns the ARM's and the ODM's loss as sums over the images."""
        terms = jax.vmap(self._loss_of_one_image)(
            self.trained(predictions), batch.boxes_xyxy, batch.labels, batch.valid
        )
        return jax.tree.map(jnp.sum, terms)

    def normalize_loss(self, sums: tuple[LossTerms, LossTerms]) -> RefinedLossTerms:
        """Returns the losses of both modules, each over its own positives of the whole batch."""
        arm, odm = map(losses.normalize, sums)
        cascade, filtering = self.model.cascade, self.model.negative_filtering
        return RefinedLossTerms(
            total=arm.total + odm.total,
            arm_localization=arm.localization if cascade else None,
            arm_confidence=arm.confidence if filtering else None,
            arm_num_positives=arm.num_positives if cascade or filtering else None,
            localization=odm.localization,
            confidence=odm.confidence,
            num_positives=odm.num_positives,
        )

    def _loss_of_one_image(
        self, predictions: RefinedPredictions, boxes_xyxy: Array, labels: Array, valid: Array
    ) -> tuple[LossTerms, LossTerms]:
        """Returns the ARM's and the ODM's sums; the ARM's total is of what it predicts."""
        objective = self.objective
        anchors = self.trained_anchors
        A = len(anchors)
        arm_offsets, arm_logits, offsets, logits = predictions
        matches = objective.match(boxes_xyxy, valid, anchors)
        arm = objective.loss(
            jnp.zeros((A, 4)) if arm_offsets is None else arm_offsets,
            jnp.zeros((A, 2)) if arm_logits is None else arm_logits,
            boxes_xyxy,
            jnp.ones_like(labels),  # any object
            matches,
            anchors,
        )
        total = jnp.zeros(())
        if arm_offsets is not None:
            total += objective.alpha * arm.localization
        if arm_logits is not None:
            total += arm.confidence
        arm = arm._replace(total=total)
        refined = self._refine(arm_offsets, anchors)
        if arm_offsets is not None:
            matches = objective.match(boxes_xyxy, valid, refined)
        eligible = None
        if arm_logits is not None:
            eligible = self._background(arm_logits) <= self.model.filter_threshold
            if self.model.filter_positives:
                matches = matches._replace(positive=matches.positive & eligible)
        odm = objective.loss(offsets, logits, boxes_xyxy, labels, matches, refined, eligible)
        return arm, odm

    def detect(self, predictions: RefinedPredictions) -> Detections:
        """Returns each image's detections; see `Detector.detect`."""

        def of_one_image(one: RefinedPredictions) -> Detections:
            scores = self.class_scores(one.logits)
            if one.arm_logits is not None:
                objectness = 1 - self._background(one.arm_logits)
                dropped = objectness < self.model.objectness_threshold
                scores = jnp.where(dropped[:, None], 0, scores)
            refined = self._refine(one.arm_offsets, self.anchors)
            found = self.objective.decode(one.offsets, refined)
            return self.decoder.suppress(found, scores)

        return jax.vmap(of_one_image)(predictions)

    def _refine(
        self, arm_offsets: Float[Array, "A 4"] | None, anchors: Float[np.ndarray, "A 4"]
    ) -> Float[Array, "A 4"]:
        """Returns the anchors that the ODM starts from, cxcywh; no gradient flows through them."""
        if arm_offsets is None:
            return jnp.asarray(anchors)
        moved = self.objective.decode(lax.stop_gradient(arm_offsets), anchors)
        return boxes.xyxy_to_cxcywh(moved)

    def _background(self, arm_logits: Float[Array, "A 2"]) -> Float[Array, " A"]:
        return self.objective.confidence.scores(lax.stop_gradient(arm_logits))[:, 0]


@dataclasses.dataclass(frozen=True)
class RefineDet(SingleShot):
    """RefineDet; see `SingleShot` for the other fields. Its ablation switches parts off.

    Attributes:
        neck: what enriches the maps for the detection module; "none" is the ablation's.
        cascade: let the refinement module move the anchors (two-step regression).
        negative_filtering: let it say which anchors hold no object.
        filter_threshold: anchors with at least this probability of background are no negatives of
            the detection.
        filter_positives: nor positives, as in some ports.
        objectness_threshold: anchors below it detect nothing.
    """

    neck: Annotated[Any, NECKS] = TransferConnections()
    cascade: bool = True
    negative_filtering: bool = True
    filter_threshold: float = changeable(0.99)
    filter_positives: bool = changeable(False)
    objectness_threshold: float = changeable(0.01)

    detector: ClassVar[type] = RefineDetDetector

    def network(self, boxes_per_cell: Sequence[int]) -> Network:
        """Returns the whole network, images -> RefinedPredictions."""
        return RefineDetModule(
            maps=self.sources(),
            neck=self.neck.module(self.style()),
            heads=self.heads,
            boxes_per_cell=tuple(boxes_per_cell),
            num_classes=self.num_classes,
            cascade=self.cascade,
            negative_filtering=self.negative_filtering,
            style=self.style(),
        )
