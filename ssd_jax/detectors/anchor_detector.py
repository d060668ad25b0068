"""What all detectors with default boxes have in common: all but the objective and the decoder."""

import dataclasses
import functools
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from ssd_jax import config
from ssd_jax.detectors import network
from ssd_jax.detectors.anchors import anchor_spec
from ssd_jax.detectors.normalization import normalize
from ssd_jax.models.layers import Network
from ssd_jax.models.source_maps import SourceMaps
from ssd_jax.ops.anchors import AnchorSpec, crossing, generate
from ssd_jax.types import Batch, Detections, Targets


@dataclasses.dataclass(frozen=True)
class AnchorDetector:
    """A single-shot network and its default boxes.

    Attributes:
      model: images [B, H, W, 3] -> predictions.
      anchor_spec: the default boxes, in the order of the predictions.
      num_classes: C, background included.
      input, objective, decoder: the config's groups.
    """

    model: Network
    anchor_spec: AnchorSpec
    num_classes: int
    input: config.Input
    objective: config.Loss
    decoder: config.Decoder

    @classmethod
    def build(cls, experiment: config.Experiment, model: Network, maps: SourceMaps) -> Self:
        """Returns the detector of a network.

        Raises:
          ValueError: what the layers and the ops say of the config's values, which otherwise the
            first step would.
        """
        spec = experiment.model
        unreported = experiment.decoder.unreported
        if not set(unreported) <= set(range(1, spec.num_classes)):
            raise ValueError(
                f"config.decoder.unreported: expected logits from 1 to {spec.num_classes - 1}, got "
                f"{unreported}"
            )
        sizes = network.map_sizes(maps, spec.image_size)
        detector = cls(
            model=model,
            anchor_spec=anchor_spec(experiment.anchors, spec.image_size, sizes),
            num_classes=spec.num_classes,
            input=experiment.input,
            objective=experiment.loss,
            decoder=experiment.decoder,
        )
        images = jax.ShapeDtypeStruct((1, *spec.image_size, 3), jnp.float32)
        shape = jax.ShapeDtypeStruct
        targets = Targets(
            shape((1, 1, 4), jnp.float32), shape((1, 1), jnp.int32), shape((1, 1), jnp.bool_)
        )
        predictions, _ = jax.eval_shape(
            lambda x: model.init_with_output(
                jax.random.key(0), normalize(x, detector.input), train=False
            ),
            images,
        )
        jax.eval_shape(detector.loss, predictions, targets)
        jax.eval_shape(detector.detect, predictions)
        return detector

    @property
    def image_size(self) -> tuple[int, int]:
        """Height, width of the network's input, pixels."""
        return self.anchor_spec.image_size

    @functools.cached_property
    def anchors(self) -> Float[np.ndarray, "A 4"]:
        """The default boxes, cxcywh."""
        return generate(self.anchor_spec)

    @functools.cached_property
    def trained_anchors(self) -> Float[np.ndarray, "T 4"]:
        """The default boxes that take part in training, cxcywh."""
        return self.anchors if self._trained is None else self.anchors[self._trained]

    def trained(self, predictions: Any) -> Any:
        """Returns the predictions [B, A, ...] of the anchors that take part in training."""
        if self._trained is None:
            return predictions
        return jax.tree.map(lambda x: x[:, self._trained], predictions)

    @functools.cached_property
    def _trained(self) -> Int[np.ndarray, " T"] | None:
        """The numbers of the trained anchors; None for all of them."""
        if self.objective.border_anchors:
            return None
        inside = np.flatnonzero(~crossing(self.anchors))
        if not len(inside):
            raise ValueError(
                "config.loss.border_anchors: every anchor crosses the image's border, so with "
                "False none is left to train; set it to True, or make anchors smaller"
            )
        return inside

    def init(self, key: PRNGKeyArray) -> PyTree:
        """Returns fresh variables; see `Detector.init`."""
        images = jnp.zeros((1, *self.image_size, 3))
        variables = self.model.init(key, images, train=False)
        return {"params": variables["params"], "batch_stats": variables.get("batch_stats", {})}

    def apply(
        self, variables: PyTree, images: Float[Array, "B H W 3"], *, train: bool
    ) -> tuple[Any, PyTree]:
        """Returns the predictions and the batch statistics; see `Detector.apply`."""
        expected = (*self.image_size, 3)
        if images.shape[1:] != expected:
            raise ValueError(
                f"{type(self).__name__}.apply: expected images "
                f"[B, {', '.join(map(str, expected))}], got {images.shape}"
            )
        predictions, updated = self.model.apply(
            variables, normalize(images, self.input), train=train, mutable=["batch_stats"]
        )
        return predictions, updated.get("batch_stats", {})

    def class_scores(self, logits: Float[Array, "A C"]) -> Float[Array, "A R"]:
        """Returns the probabilities of the background and of the classes that are reported."""
        scores = jax.nn.softmax(logits)
        if not self.decoder.unreported:
            return scores
        reported = [i for i in range(self.num_classes) if i not in self.decoder.unreported]
        return scores[:, np.array(reported)]

    def loss(self, predictions: Any, batch: Batch | Targets) -> Any:
        """Returns the loss of a batch; see `Detector.loss`."""
        raise NotImplementedError

    def detect(self, predictions: Any) -> Detections:
        """Returns each image's detections; see `Detector.detect`."""
        raise NotImplementedError
