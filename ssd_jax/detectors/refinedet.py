"""RefineDet as a detector: two steps of regression, and filtering between them.

Zhang et al., "Single-Shot Refinement Neural Network for Object Detection", sections 3 and 3.1.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ssd_jax import config
from ssd_jax.detectors import backbones, network
from ssd_jax.detectors.anchor_detector import AnchorDetector
from ssd_jax.detectors.anchors import boxes_per_cell
from ssd_jax.detectors.suppression import suppress
from ssd_jax.models.refinedet import RefineDet
from ssd_jax.ops import boxes, coding, losses, matching
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

    def loss(self, predictions: RefinedPredictions, batch: Batch | Targets) -> RefinedLossTerms:
        """Returns the losses of both modules, each over its own positives of the whole batch."""
        terms = jax.vmap(self._loss_of_one_image)(
            self.trained(predictions), batch.boxes_xyxy, batch.labels, batch.valid
        )
        arm, odm = losses.normalize(terms[0]), losses.normalize(terms[1])
        localization = None if predictions.arm_offsets is None else arm.localization
        confidence = None if predictions.arm_logits is None else arm.confidence
        has_arm = localization is not None or confidence is not None
        total = odm.total
        if localization is not None:
            total += self.objective.alpha * localization
        if confidence is not None:
            total += confidence
        return RefinedLossTerms(
            total=total,
            arm_localization=localization,
            arm_confidence=confidence,
            arm_num_positives=arm.num_positives if has_arm else None,
            localization=odm.localization,
            confidence=odm.confidence,
            num_positives=odm.num_positives,
        )

    def _loss_of_one_image(
        self, predictions: RefinedPredictions, boxes_xyxy: Array, labels: Array, valid: Array
    ) -> tuple[LossTerms, LossTerms]:
        """Returns the ARM's and the ODM's sums; what the ARM does not predict is a constant."""
        spec = self.objective
        threshold = {"iou_threshold": spec.iou_threshold}
        multibox = {
            "negative_iou": spec.iou_threshold,
            "negative_ratio": None if spec.confidence == "focal" else spec.negative_ratio,
            "localization": spec.localization,
            "confidence": spec.confidence,
            "alpha": spec.alpha,
            "variances": spec.variances,
        }
        anchors = self.trained_anchors
        A = len(anchors)
        arm_offsets, arm_logits, offsets, logits = predictions
        matches = matching.match(boxes_xyxy, valid, anchors, **threshold)
        arm = losses.multibox(
            jnp.zeros((A, 4)) if arm_offsets is None else arm_offsets,
            jnp.zeros((A, 2)) if arm_logits is None else arm_logits,
            boxes_xyxy,
            jnp.ones_like(labels),  # any object
            matches,
            anchors,
            **multibox,
        )
        refined = self._refine(arm_offsets, anchors)
        if arm_offsets is not None:
            matches = matching.match(boxes_xyxy, valid, refined, **threshold)
        eligible = None
        if arm_logits is not None:
            eligible = self._background(arm_logits) <= spec.filter_threshold
            if spec.filter_positives:
                matches = matches._replace(positive=matches.positive & eligible)
        odm = losses.multibox(
            offsets, logits, boxes_xyxy, labels, matches, refined, eligible=eligible, **multibox
        )
        return arm, odm

    def detect(self, predictions: RefinedPredictions) -> Detections:
        """Returns each image's detections; see `Detector.detect`."""

        def of_one_image(one: RefinedPredictions) -> Detections:
            scores = self.class_scores(one.logits)
            if one.arm_logits is not None:
                objectness = 1 - self._background(one.arm_logits)
                dropped = objectness < self.decoder.objectness_threshold
                scores = jnp.where(dropped[:, None], 0, scores)
            refined = self._refine(one.arm_offsets, self.anchors)
            found = coding.decode(one.offsets, refined, variances=self.objective.variances)
            return suppress(found, scores, self.decoder)

        return jax.vmap(of_one_image)(predictions)

    def _refine(
        self, arm_offsets: Float[Array, "A 4"] | None, anchors: Float[np.ndarray, "A 4"]
    ) -> Float[Array, "A 4"]:
        """Returns the anchors that the ODM starts from, cxcywh; no gradient flows through them."""
        if arm_offsets is None:
            return jnp.asarray(anchors)
        moved = coding.decode(
            lax.stop_gradient(arm_offsets), anchors, variances=self.objective.variances
        )
        return boxes.xyxy_to_cxcywh(moved)

    def _background(self, arm_logits: Float[Array, "A 2"]) -> Float[Array, " A"]:
        return jax.nn.softmax(lax.stop_gradient(arm_logits))[:, 0]


def build(experiment: config.Experiment) -> RefineDetDetector:
    """Returns the detector of a config whose `model.name` is "refinedet"; see `detectors.build`."""
    spec = experiment.model
    maps = network.source_maps(spec)
    model = RefineDet(
        maps=maps,
        boxes_per_cell=boxes_per_cell(experiment.anchors, len(spec.sources) + len(spec.extras)),
        num_classes=spec.num_classes,
        head_kernels=network.head_kernels(spec),
        cascade=spec.cascade,
        negative_filtering=spec.negative_filtering,
        transfer_connections=spec.transfer_connections,
        prediction_module=spec.prediction_module,
        prediction_kernel=spec.prediction_kernel,
        channels=spec.transfer_channels,
        width=spec.width,
        style=backbones.style(spec),
    )
    return RefineDetDetector.build(experiment, model, maps)
