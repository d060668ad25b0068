"""A trained detector on pictures: from a workdir, a file, or a detector and its variables."""

import itertools
import operator
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree, UInt8

from ssd_jax import config, detectors
from ssd_jax.checkpoints.trained import load
from ssd_jax.data.images import place
from ssd_jax.data.records import COCO_CATEGORY_IDS
from ssd_jax.inference import ImageDetections, in_pixels, make_detect_step
from ssd_jax.pretrained import released_classes
from ssd_jax.sharding import data_mesh, put_batch, replicated


class Picture(NamedTuple):
    """A decoded picture and its name."""

    image_id: str
    image: UInt8[np.ndarray, "H W 3"]  # RGB, the right way up


class Predictor:
    """Finds objects in pictures of any size, a batch at a time.

    Attributes:
        class_names: without background; label l is class_names[l - 1].
        category_ids: what the annotations call the classes, in the same order.
        experiment: the config of the detector.

    Args:
        experiment: with the classes filled in, as in a workdir's config.json.
        variables: of the detector.
        batch_size: pictures at a time; rounded up to a multiple of the devices.
        detector: by default the one that `experiment` describes, its BatchNorm folded.
    """

    def __init__(
        self,
        experiment: config.Experiment,
        variables: PyTree,
        *,
        batch_size: int = 8,
        detector: detectors.Detector | None = None,
    ) -> None:
        self.experiment = experiment
        self.class_names = experiment.class_names
        self.category_ids = _category_ids(experiment)
        self._mesh = data_mesh()
        self._batch_size = -(-batch_size // self._mesh.size) * self._mesh.size
        if detector is None:
            detector, variables = detectors.build(experiment).fold(variables)
        self._variables = jax.device_put(variables, replicated(self._mesh))
        self._detect = make_detect_step(detector, self._mesh)

    @classmethod
    def load(
        cls, path: str | os.PathLike, *, checkpoint: str = "latest", batch_size: int = 8
    ) -> "Predictor":
        """Returns the predictor of a run's workdir, or of a file of launch.import_weights.

        A run's `checkpoint` is "latest", "best" (by mAP), or a step.

        Raises:
            ValueError: where there is none, it is damaged, or another version wrote it.
        """
        return cls(*load(path, checkpoint=checkpoint), batch_size=batch_size)

    def __call__(self, pictures: Iterable[Picture]) -> Iterator[tuple[Picture, ImageDetections]]:
        """Yields every picture with its detections, in pixels of the picture, by falling score."""
        pictures = iter(pictures)
        while batch := list(itertools.islice(pictures, self._batch_size)):
            # A compiled program has one size: a last batch that is not full ends in empty canvases.
            canvas = np.zeros((self._batch_size, *self.experiment.data.canvas, 3), np.uint8)
            size = np.ones((self._batch_size, 2), np.int32)
            for slot, picture in enumerate(batch):
                size[slot] = place(picture.image, canvas[slot])
            canvas, size = put_batch(self._mesh, (canvas, size))
            found = jax.device_get(self._detect(self._variables, canvas, size))
            for slot, picture in enumerate(batch):
                one = jax.tree.map(operator.itemgetter(slot), found)
                yield picture, in_pixels(one, picture.image_id, *picture.image.shape[:2])


def _category_ids(experiment: config.Experiment) -> tuple[int, ...]:
    """Returns the numbers of the classes: the training data's, those of COCO's 80, or 1, 2, ..."""
    if experiment.category_ids:
        return experiment.category_ids
    names = experiment.class_names
    if names == released_classes.names(len(COCO_CATEGORY_IDS) + 1):
        return COCO_CATEGORY_IDS
    return tuple(range(1, len(names) + 1))
