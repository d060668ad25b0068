"""What training, evaluation, prediction and export know of a detector."""

from typing import Any, Protocol

import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ssd_jax.types import Batch, Detections, Targets


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

    def loss(self, predictions: Any, batch: Batch | Targets) -> Any:
        """Returns the loss's parts over a batch as a NamedTuple of scalars with a `total`.

        Normalised by the number of positives of the whole batch, over all devices.
        """
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
