"""SSD as a detector: also every network with one set of predictions per anchor."""

import dataclasses

import jax
from jaxtyping import Array

from ssd_jax import config
from ssd_jax.detectors import backbones, network
from ssd_jax.detectors.anchor_detector import AnchorDetector
from ssd_jax.detectors.anchors import boxes_per_cell
from ssd_jax.detectors.suppression import suppress
from ssd_jax.models.deconvolution import COMBINATIONS
from ssd_jax.models.dssd import DSSD
from ssd_jax.models.ssd import SSD
from ssd_jax.ops import coding, losses, matching
from ssd_jax.types import Batch, Detections, LossTerms, Predictions, Targets


@dataclasses.dataclass(frozen=True)
class SSDDetector(AnchorDetector):
    """A single-shot network, its default boxes, the multibox objective and its decoder."""

    def loss(self, predictions: Predictions, batch: Batch | Targets) -> LossTerms:
        """Returns the multibox loss of a batch; see `Detector.loss`."""
        spec = self.objective
        anchors = self.trained_anchors
        predictions = self.trained(predictions)

        def of_one_image(
            offsets: Array, logits: Array, boxes_xyxy: Array, labels: Array, valid: Array
        ) -> LossTerms:
            matches = matching.match(boxes_xyxy, valid, anchors, iou_threshold=spec.iou_threshold)
            return losses.multibox(
                offsets,
                logits,
                boxes_xyxy,
                labels,
                matches,
                anchors,
                negative_iou=spec.iou_threshold,
                negative_ratio=None if spec.confidence == "focal" else spec.negative_ratio,
                localization=spec.localization,
                confidence=spec.confidence,
                alpha=spec.alpha,
                variances=spec.variances,
            )

        terms = jax.vmap(of_one_image)(
            predictions.offsets, predictions.logits, batch.boxes_xyxy, batch.labels, batch.valid
        )
        return losses.normalize(terms)

    def detect(self, predictions: Predictions) -> Detections:
        """Returns each image's detections; see `Detector.detect`."""

        def of_one_image(offsets: Array, logits: Array) -> Detections:
            boxes = coding.decode(offsets, self.anchors, variances=self.objective.variances)
            return suppress(boxes, self.class_scores(logits), self.decoder)

        return jax.vmap(of_one_image)(*predictions)


def build(experiment: config.Experiment) -> SSDDetector:
    """Returns the detector of a config whose `model.name` is "ssd"; see `detectors.build`."""
    spec = experiment.model
    if spec.deconvolution not in ("", *COMBINATIONS):
        raise ValueError(
            f"config.model.deconvolution: expected '' or one of {COMBINATIONS}, got "
            f"{spec.deconvolution!r}"
        )
    maps = network.source_maps(spec)
    options = {
        "maps": maps,
        "boxes_per_cell": boxes_per_cell(experiment.anchors, len(spec.sources) + len(spec.extras)),
        "num_classes": spec.num_classes,
        "head_kernels": network.head_kernels(spec),
        "separable": spec.separable,
        "prediction_module": spec.prediction_module,
        "prediction_kernel": spec.prediction_kernel,
        "width": spec.width,
        "style": backbones.style(spec),
    }
    if spec.deconvolution:
        model = DSSD(combination=spec.deconvolution, **options)
    else:
        model = SSD(**options)
    return SSDDetector.build(experiment, model, maps)
