"""Testing at several sizes and on the mirrored picture: the "+" rows of RefineDet's tables."""

import dataclasses
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ssd_jax.detectors.anchor_detector import AnchorDetector
from ssd_jax.detectors.decoder import Decoder
from ssd_jax.detectors.protocol import Detector
from ssd_jax.types import Batch, Detections, LossTerms, Targets


@dataclasses.dataclass(frozen=True)
class SeveralViews:
    """A detector that, outside of training, looks at a picture several times.

    Attributes:
        detector: at the config's own size; it is trained, and its suppression is the plain one.
        views: one for each size, with the same parameters; the largest decides what `image_size`
            is.
        decoder: whether to mirror, and how to suppress what all views found.
    """

    detector: Detector
    views: tuple[Detector, ...]
    decoder: Decoder

    @property
    def image_size(self) -> tuple[int, int]:
        """Height, width of the largest view, pixels: what `apply` takes outside of training."""
        return max((view.image_size for view in self.views), key=lambda size: size[0] * size[1])

    @property
    def num_classes(self) -> int:
        """C, background included."""
        return self.detector.num_classes

    @property
    def anchors(self) -> Float[np.ndarray, "A 4"]:
        """The default boxes of the config's own size."""
        return self.detector.anchors

    def init(self, key: PRNGKeyArray) -> PyTree:
        """Returns fresh variables; see `Detector.init`."""
        return self.detector.init(key)

    def apply(
        self, variables: PyTree, images: Float[Array, "B H W 3"], *, train: bool
    ) -> tuple[Any, PyTree]:
        """Returns the predictions, of every view where not `train`; see `Detector.apply`."""
        if train:
            return self.detector.apply(variables, images, train=True)
        predictions = []
        for view in self.views:
            resized = jax.image.resize(
                images, (images.shape[0], *view.image_size, 3), "linear", antialias=False
            )
            predictions.append(view.apply(variables, resized, train=False)[0])
            if self.decoder.test_flip:
                predictions.append(view.apply(variables, resized[:, :, ::-1], train=False)[0])
        return tuple(predictions), variables["batch_stats"]

    def loss_sums(self, predictions: Any, batch: Batch | Targets) -> tuple[LossTerms, ...]:
        """Returns the sums of the loss in training; see `Detector.loss_sums`."""
        return self.detector.loss_sums(predictions, batch)

    def normalize_loss(self, sums: tuple[LossTerms, ...]) -> Any:
        """Returns the loss of a batch from its sums; see `Detector.normalize_loss`."""
        return self.detector.normalize_loss(sums)

    def loss(self, predictions: Any, batch: Batch | Targets) -> Any:
        """Returns the loss of a batch's predictions in training; see `Detector.loss`."""
        return self.detector.loss(predictions, batch)

    def detect(self, predictions: Any) -> Detections:
        """Returns each image's detections: those of all views, suppressed once more."""
        found = []
        views = [view for view in self.views for _ in range(1 + self.decoder.test_flip)]
        for i, (view, one) in enumerate(zip(views, predictions, strict=True)):
            detections = view.detect(one)
            if self.decoder.test_flip and i % 2:
                x0, y0, x1, y1 = jnp.moveaxis(detections.boxes_xyxy, -1, 0)
                mirrored = jnp.stack((1 - x1, y0, 1 - x0, y1), axis=-1)
                detections = detections._replace(boxes_xyxy=mirrored)
            found.append(detections)
        joined = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), *found)

        def of_one_image(one: Detections) -> Detections:
            scores = jax.nn.one_hot(one.labels, self.num_classes) * one.scores[:, None]
            return self.decoder.suppress(one.boxes_xyxy, scores)

        return jax.vmap(of_one_image)(joined)

    def fold(self, variables: PyTree) -> tuple[Self, PyTree]:
        """Returns the detector with BatchNorm worked into its convolutions; see `Detector.fold`."""
        detector, folded = self.detector.fold(variables)
        views = tuple(view.fold(variables)[0] for view in self.views)
        return dataclasses.replace(self, detector=detector, views=views), folded

    def check(self) -> None:
        """Refuses settings that contradict each other; see `AnchorDetector.check`."""
        self.detector.check()
        for view, scale in zip(self.views, self.decoder.test_scales, strict=True):
            try:
                view.check()
            except ValueError as error:
                height, width = view.image_size
                raise ValueError(
                    f"config.decoder.test_scales: {scale} makes the input {height} x {width}: "
                    f"{error}"
                ) from None


def at_several_sizes(detector: AnchorDetector) -> SeveralViews:
    """Returns a detector that looks at a picture as often as its decoder's settings ask."""
    decoder = dataclasses.replace(detector.decoder, soft_nms=False, box_voting=False)
    plain = dataclasses.replace(detector, decoder=decoder)
    views = []
    for scale in detector.decoder.test_scales:
        height, width = (round(side * scale) for side in detector.image_size)
        model = dataclasses.replace(detector.model, image_size=(height, width))
        views.append(dataclasses.replace(plain, model=model))
    return SeveralViews(plain, tuple(views), detector.decoder)
