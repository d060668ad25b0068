"""SSD as a detector: also every network with one set of predictions per anchor."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ssd_jax import config
from ssd_jax.detectors import backbones
from ssd_jax.detectors.anchors import anchor_spec, boxes_per_cell
from ssd_jax.detectors.normalization import normalize
from ssd_jax.models.ssd import SSD
from ssd_jax.ops import coding, losses, matching, nms
from ssd_jax.ops.anchors import AnchorSpec, generate
from ssd_jax.types import Batch, Detections, LossTerms, Predictions, Targets


@dataclasses.dataclass(frozen=True)
class SSDDetector:
    """A single-shot network, its default boxes, the multibox objective and its decoder.

    Attributes:
      model: images [B, H, W, 3] -> Predictions.
      anchor_spec: the default boxes, in the order of the predictions.
      num_classes: C, background included.
      input, objective, decoder: the config's groups.
    """

    model: SSD
    anchor_spec: AnchorSpec
    num_classes: int
    input: config.Input
    objective: config.Loss
    decoder: config.Decoder

    @property
    def image_size(self) -> tuple[int, int]:
        """Height, width of the network's input, pixels."""
        return self.anchor_spec.image_size

    @functools.cached_property
    def anchors(self) -> Float[np.ndarray, "A 4"]:
        """The default boxes, cxcywh."""
        return generate(self.anchor_spec)

    def init(self, key: PRNGKeyArray) -> PyTree:
        """Returns fresh variables; see `Detector.init`."""
        images = jnp.zeros((1, *self.image_size, 3))
        variables = self.model.init(key, images, train=False)
        return {"params": variables["params"], "batch_stats": variables.get("batch_stats", {})}

    def apply(
        self, variables: PyTree, images: Float[Array, "B H W 3"], *, train: bool
    ) -> tuple[Predictions, PyTree]:
        """Returns the predictions and the batch statistics; see `Detector.apply`."""
        expected = (*self.image_size, 3)
        if images.shape[1:] != expected:
            raise ValueError(
                f"SSDDetector.apply: expected images [B, {', '.join(map(str, expected))}], "
                f"got {images.shape}"
            )
        predictions, updated = self.model.apply(
            variables, normalize(images, self.input), train=train, mutable=["batch_stats"]
        )
        return predictions, updated.get("batch_stats", {})

    def loss(self, predictions: Predictions, batch: Batch | Targets) -> LossTerms:
        """Returns the multibox loss of a batch; see `Detector.loss`."""
        spec = self.objective

        def of_one_image(
            offsets: Array, logits: Array, boxes_xyxy: Array, labels: Array, valid: Array
        ) -> LossTerms:
            matches = matching.match(
                boxes_xyxy, valid, self.anchors, iou_threshold=spec.iou_threshold
            )
            return losses.multibox(
                offsets,
                logits,
                boxes_xyxy,
                labels,
                matches,
                self.anchors,
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
        spec = self.decoder

        def of_one_image(offsets: Array, logits: Array) -> Detections:
            return nms.multiclass_nms(
                coding.decode(offsets, self.anchors, variances=self.objective.variances),
                jax.nn.softmax(logits),
                score_threshold=spec.score_threshold,
                iou_threshold=spec.iou_threshold,
                pre_nms_top_k=spec.pre_nms_top_k,
                max_output=spec.max_detections,
            )

        return jax.vmap(of_one_image)(*predictions)


def build(experiment: config.Experiment) -> SSDDetector:
    """Returns the detector of a config whose `model.name` is "ssd"; see `detectors.build`."""
    spec = experiment.model
    num_maps = len(spec.sources) + len(spec.extras)
    if len(spec.head_kernels) not in (1, num_maps):
        raise ValueError(
            f"config.model.head_kernels: expected one value, or one for each of the {num_maps} "
            f"sources and extras, got {spec.head_kernels}"
        )
    model = SSD(
        backbone=backbones.build(spec),
        sources=spec.sources,
        extras=spec.extras,
        boxes_per_cell=boxes_per_cell(experiment.anchors, num_maps),
        num_classes=spec.num_classes,
        l2_norm=spec.l2_norm,
        head_kernels=spec.head_kernels * (num_maps // len(spec.head_kernels)),
        separable=spec.separable,
        width=spec.width,
        style=backbones.style(spec),
    )
    sizes = _map_sizes(model, spec.image_size)
    detector = SSDDetector(
        model=model,
        anchor_spec=anchor_spec(experiment.anchors, spec.image_size, sizes),
        num_classes=spec.num_classes,
        input=experiment.input,
        objective=experiment.loss,
        decoder=experiment.decoder,
    )
    _trace(detector)
    return detector


def _trace(detector: SSDDetector) -> None:
    """Raises what the ops say of the config's values, which otherwise the first step would."""
    A, C = detector.anchor_spec.num_anchors, detector.num_classes
    shape, float32 = jax.ShapeDtypeStruct, jnp.float32
    predictions = Predictions(shape((1, A, 4), float32), shape((1, A, C), float32))
    targets = Targets(shape((1, 1, 4), float32), shape((1, 1), jnp.int32), shape((1, 1), jnp.bool_))
    jax.eval_shape(detector.loss, predictions, targets)
    jax.eval_shape(detector.detect, predictions)
    jax.eval_shape(lambda x: normalize(x, detector.input), shape((1, 1, 1, 3), float32))


def _map_sizes(model: SSD, image_size: tuple[int, int]) -> list[tuple[int, int]]:
    """Returns the rows and columns of the maps under the heads, by abstract evaluation."""
    images = jax.ShapeDtypeStruct((1, *image_size, 3), jnp.float32)
    maps, _ = jax.eval_shape(
        lambda x: model.init_with_output(
            jax.random.key(0), x, train=False, method=SSD.feature_maps
        ),
        images,
    )
    sizes = [(x.shape[1], x.shape[2]) for x in maps]
    if min(map(min, sizes)) < 1:
        raise ValueError(
            f"config.model.extras: an input of {image_size} is too small for these layers; their "
            f"feature maps would be {sizes}"
        )
    return sizes
