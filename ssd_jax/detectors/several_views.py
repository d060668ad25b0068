"""Testing at several sizes and on the mirrored picture: the "+" rows of RefineDet's tables."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ssd_jax import config
from ssd_jax.detectors.protocol import Detector
from ssd_jax.detectors.suppression import suppress
from ssd_jax.types import Batch, Detections, Targets


def wanted(spec: config.Decoder) -> bool:
    """Returns whether a config asks for more than one view of a picture."""
    return spec.test_flip or spec.test_scales != (1.0,)


@dataclasses.dataclass(frozen=True)
class SeveralViews:
    """A detector that, outside of training, looks at a picture several times.

    Attributes:
      detector: at the config's own size; it is trained, and its suppression is the plain one.
      views: one for each size, with the same parameters; the largest decides what `image_size` is.
      spec: the config's group: whether to mirror, and how to suppress what all views found.
    """

    detector: Detector
    views: tuple[Detector, ...]
    spec: config.Decoder

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
            if self.spec.test_flip:
                predictions.append(view.apply(variables, resized[:, :, ::-1], train=False)[0])
        return tuple(predictions), variables["batch_stats"]

    def loss(self, predictions: Any, batch: Batch | Targets) -> Any:
        """Returns the loss of a batch's predictions in training; see `Detector.loss`."""
        return self.detector.loss(predictions, batch)

    def detect(self, predictions: Any) -> Detections:
        """Returns each image's detections: those of all views, suppressed once more."""
        found = []
        views = [view for view in self.views for _ in range(1 + self.spec.test_flip)]
        for i, (view, one) in enumerate(zip(views, predictions, strict=True)):
            detections = view.detect(one)
            if self.spec.test_flip and i % 2:
                x0, y0, x1, y1 = jnp.moveaxis(detections.boxes_xyxy, -1, 0)
                mirrored = jnp.stack((1 - x1, y0, 1 - x0, y1), axis=-1)
                detections = detections._replace(boxes_xyxy=mirrored)
            found.append(detections)
        joined = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), *found)

        def of_one_image(one: Detections) -> Detections:
            scores = jax.nn.one_hot(one.labels, self.num_classes) * one.scores[:, None]
            return suppress(one.boxes_xyxy, scores, self.spec)

        return jax.vmap(of_one_image)(joined)


def build(
    experiment: config.Experiment, build_one: Callable[[config.Experiment], Detector]
) -> SeveralViews:
    """Returns the detector of a config with several views; see `detectors.build`.

    Raises:
      ValueError: for scales that are not above 0, or give sizes that the network cannot take.
    """
    spec = experiment.decoder
    if not spec.test_scales or min(spec.test_scales) <= 0:
        raise ValueError(
            f"config.decoder.test_scales: expected factors above 0, got {spec.test_scales}"
        )
    plain = dataclasses.replace(
        experiment,
        decoder=dataclasses.replace(spec, soft_nms=False, box_voting=False),
    )
    views = []
    for scale in spec.test_scales:
        height, width = (round(side * scale) for side in experiment.model.image_size)
        model = dataclasses.replace(experiment.model, image_size=(height, width))
        try:
            views.append(build_one(dataclasses.replace(plain, model=model)))
        except ValueError as error:
            raise ValueError(
                f"config.decoder.test_scales: {scale} makes the input {height} x {width}: {error}"
            ) from None
    return SeveralViews(build_one(plain), tuple(views), spec)
