"""What training, evaluation, prediction and export know of a detector."""

from typing import Any, Protocol

import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ssd_jax.types import Batch, Detections, LossTerms, Targets


class Detector(Protocol):
    """A network with everything that turns pictures into a loss or into detections.

    Attributes:
        image_size: height, width of the network's input, pixels.
        num_classes: C, background included.
        anchors: float32[A, 4], the default boxes, cxcywh.
    """

    image_size: tuple[int, int]
    num_classes: int

    @property
    def anchors(self) -> Float[np.ndarray, "A 4"]:
        """The default boxes."""
        ...

    def init(self, key: PRNGKeyArray) -> PyTree:
        """Returns fresh variables: {"params": ..., "batch_stats": ...}, the latter may be {}."""
        ...

    def apply(
        self, variables: PyTree, images: Float[Array, "B H W 3"], *, train: bool
    ) -> tuple[Any, PyTree]:
        """Runs the network.

        Args:
            variables: as `init` returns them.
            images: RGB on 0-255 at the input size; the detector normalises them itself.
            train: use and update the batch's own statistics in BatchNorm.

        Returns:
            The predictions, for `loss` and `detect`, and the batch statistics afterwards.
        """
        ...

    def loss_sums(self, predictions: Any, batch: Batch | Targets) -> tuple[LossTerms, ...]:
        """Returns the loss as sums over the images, with their numbers of positives.

        Sums of parts of a batch add up to those of the whole. The loss of the batch is the sum of
        each `total` over its number of positives; there is more than one where parts of the loss
        have positives of their own.
        """
        ...

    def normalize_loss(self, sums: tuple[LossTerms, ...]) -> Any:
        """Returns the loss of the batch that `loss_sums` add up to, and its parts.

        It is a NamedTuple of scalars with a `total`, normalised by the positives.
        """
        ...

    def loss(self, predictions: Any, batch: Batch | Targets) -> Any:
        """Returns `normalize_loss` of the `loss_sums` of a batch."""
        ...

    def detect(self, predictions: Any) -> Detections:
        """Returns each image's detections, [B, N], normalised and not clipped to the image."""
        ...

    def fold(self, variables: PyTree) -> tuple["Detector", PyTree]:
        """Returns a detector for `apply(train=False)` and `detect` alone, and its variables.

        It computes the same, and faster. Without BatchNorm both are returned as they are.

        Args:
            variables: of the trained detector, its params and batch_stats.
        """
        ...
