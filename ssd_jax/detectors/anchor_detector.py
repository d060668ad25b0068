"""What all detectors with default boxes have in common: all but the objective and the decoder."""

import dataclasses
import functools
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from ssd_jax.detectors.decoder import Decoder
from ssd_jax.detectors.input import Input
from ssd_jax.detectors.multibox import Multibox
from ssd_jax.detectors.single_shot import SingleShot
from ssd_jax.models.folding import fold as fold_params
from ssd_jax.models.style import Network
from ssd_jax.ops.anchors import AnchorSpec, crossing, generate
from ssd_jax.types import Batch, Detections, LossTerms, Targets


@dataclasses.dataclass(frozen=True)
class AnchorDetector:
    """A single-shot network and its default boxes.

    Attributes:
        model: the settings of the network.
        input: what the network was trained to see.
        anchor_rule: the rule of its default boxes.
        objective: what it is trained by.
        decoder: how its predictions become detections.
    """

    model: SingleShot
    input: Input
    anchor_rule: Any
    objective: Multibox
    decoder: Decoder

    def check(self) -> None:
        """Refuses settings that contradict each other, which otherwise the first step would.

        Raises:
            ValueError: what the layers and the ops say of them.
        """
        unreported = self.decoder.unreported
        if not set(unreported) <= set(range(1, self.num_classes)):
            raise ValueError(
                f"config.decoder.unreported: expected logits from 1 to {self.num_classes - 1}, got "
                f"{unreported}"
            )
        shape = jax.ShapeDtypeStruct
        images = shape((1, *self.image_size, 3), jnp.float32)
        targets = Targets(
            shape((1, 1, 4), jnp.float32), shape((1, 1), jnp.int32), shape((1, 1), jnp.bool_)
        )
        network = self.network
        predictions, _ = jax.eval_shape(
            lambda x: network.init_with_output(
                jax.random.key(0), self.input.standardize(x), train=False
            ),
            images,
        )
        jax.eval_shape(self.loss, predictions, targets)
        jax.eval_shape(self.detect, predictions)

    @functools.cached_property
    def network(self) -> Network:
        """The network, images [B, H, W, 3] -> predictions."""
        return self.model.network(self.anchor_rule.per_cell(self.model.num_maps))

    @functools.cached_property
    def anchor_spec(self) -> AnchorSpec:
        """The default boxes, in the order of the predictions."""
        return self.anchor_rule.spec(self.model.image_size, self.model.map_sizes())

    @property
    def image_size(self) -> tuple[int, int]:
        """Height, width of the network's input, pixels."""
        return self.model.image_size

    @property
    def num_classes(self) -> int:
        """C, background included."""
        return self.model.num_classes

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
        variables = self.network.init(key, images, train=False)
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
        predictions, updated = self.network.apply(
            variables, self.input.standardize(images), train=train, mutable=["batch_stats"]
        )
        return predictions, updated.get("batch_stats", {})

    def class_scores(self, logits: Float[Array, "A C"]) -> Float[Array, "A R"]:
        """Returns the probabilities of the background and of the classes that are reported."""
        scores = self.objective.confidence.scores(logits)
        if not self.decoder.unreported:
            return scores
        reported = [i for i in range(self.num_classes) if i not in self.decoder.unreported]
        return scores[:, np.array(reported)]

    def loss_sums(self, predictions: Any, batch: Batch | Targets) -> tuple[LossTerms, ...]:
        """Returns the loss as sums over the images; see `Detector.loss_sums`."""
        raise NotImplementedError

    def normalize_loss(self, sums: tuple[LossTerms, ...]) -> Any:
        """Returns the loss of a batch from its sums; see `Detector.normalize_loss`."""
        raise NotImplementedError

    def loss(self, predictions: Any, batch: Batch | Targets) -> Any:
        """Returns the loss of a batch; see `Detector.loss`."""
        return self.normalize_loss(self.loss_sums(predictions, batch))

    def detect(self, predictions: Any) -> Detections:
        """Returns each image's detections; see `Detector.detect`."""
        raise NotImplementedError

    def fold(self, variables: PyTree) -> tuple[Self, PyTree]:
        """Returns the detector with BatchNorm worked into its convolutions; see `Detector.fold`."""
        if not variables["batch_stats"] or self.model.folded:
            return self, variables
        of_backbone, of_rest = self.model.style("backbone").epsilon, self.model.style().epsilon

        def epsilon(path: tuple[str, ...]) -> float:
            return of_backbone if path[0] == "backbone" else of_rest

        params = jax.jit(lambda p, s: fold_params(p, s, epsilon))(
            variables["params"], variables["batch_stats"]
        )
        folded = dataclasses.replace(self, model=dataclasses.replace(self.model, folded=True))
        return folded, {"params": params, "batch_stats": {}}
