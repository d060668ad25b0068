"""How well the anchors of a config cover a data set, before any training."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ssd_jax import config
from ssd_jax.coverage.annotations import BoxSet, ImageBoxes
from ssd_jax.detectors import anchor_spec
from ssd_jax.ops import anchors as anchor_ops
from ssd_jax.ops import boxes, matching
from ssd_jax.ops.anchors import AnchorSpec, generate

# The size of a batch's [B, G, A] array: 4 MiB of float32, which the caches of a CPU hold.
_BATCH_NUMBERS = 2**20


@dataclasses.dataclass(frozen=True)
class Coverage:
    """How the matcher serves every object of a data set, and what it uses every anchor for."""

    name: str  # of the config
    data: str  # the name of the data set
    spec: AnchorSpec
    class_names: tuple[str, ...]  # of labels 1 .. C-1
    iou_threshold: float  # of the matching
    num_images: int
    boxes_xyxy: Float[np.ndarray, "n 4"]  # of the objects, normalised
    labels: Int[np.ndarray, " n"]
    picture_area: Float[np.ndarray, " n"]  # pixels of the picture; nan where its size is unknown
    best_iou: Float[np.ndarray, " n"]  # the largest IoU of an object with any anchor
    positives: Int[np.ndarray, " n"]  # how many anchors are trained towards it
    matched_iou: Float[np.ndarray, " n"]  # its largest IoU with one of those; 0 without any
    source: Int[np.ndarray, " n"]  # the map that this anchor lies on; -1 without any
    uses: Int[np.ndarray, " A"]  # how many objects each anchor is trained towards

    @property
    def covered(self) -> Bool[np.ndarray, " n"]:
        """Which objects have an anchor at the matching IoU."""
        return self.best_iou >= self.iou_threshold

    @property
    def forced(self) -> Bool[np.ndarray, " n"]:
        """Which objects are matched only by the bipartite rule, below the matching IoU."""
        return (self.positives > 0) & (self.matched_iou < self.iou_threshold)

    @property
    def sides(self) -> Float[np.ndarray, "n 2"]:
        """Width and height of the objects, pixels of the network's input."""
        height, width = self.spec.image_size
        return (self.boxes_xyxy[:, 2:] - self.boxes_xyxy[:, :2]) * np.array((width, height))

    def area(self, measured_on: str = "picture") -> Float[np.ndarray, " n"]:
        """Returns the objects' areas in pixels of their own "picture" or of the network's "input".

        Raises:
            ValueError: for another word.
        """
        if measured_on not in ("picture", "input"):
            raise ValueError(
                f"coverage.area: expected sizes on the 'picture' or the 'input', got "
                f"{measured_on!r}"
            )
        return self.picture_area if measured_on == "picture" else self.sides.prod(axis=1)

    def figures(self, measured_on: str = "picture") -> dict[str, float]:
        """Returns the figures of the whole data set; see `size_classes` for `measured_on`.

        Returns:
            "covered", the share of objects with an anchor at the matching IoU, and of those of each
            size; "forced", the share matched only by the bipartite rule; "unmatched", by nothing;
            "best_iou", the mean of the objects' best IoU; "positives", the mean number of anchors
            trained towards an object; "unused" and "crossing", the shares of anchors that no object
            uses and that cross the border. nan where there is nothing to count.
        """
        of_size = size_classes(self.area(measured_on))
        return {
            "covered": share(self.covered),
            **{f"covered_{size}": share(self.covered[of_size == size]) for size in SIZES},
            "forced": share(self.forced),
            "unmatched": share(self.positives == 0),
            "best_iou": share(self.best_iou),
            "positives": share(self.positives),
            "unused": share(self.uses == 0),
            "crossing": share(crossing(self.spec)),
        }


# COCO's: below 32 x 32 pixels, to 96 x 96, and above.
SIZES = ("small", "medium", "large")
_SIZE_LIMITS = (32**2, 96**2)


def size_classes(area: Float[np.ndarray, " n"]) -> np.ndarray:
    """Returns one of SIZES for each area in pixels, or "unknown" for nan.

    COCO measures on the original picture, and so do APs, APm and APl of an evaluation: one object
    has one size then, whatever network is asked. Anchors are measured on the network's input, where
    an object of a large picture is smaller. Boxes alone are known here, so that the area is the
    box's and not the mask's.
    """
    names = np.array((*SIZES, "unknown"))
    return names[np.where(np.isnan(area), 3, np.searchsorted(_SIZE_LIMITS, area, side="right"))]


def share(values: np.ndarray) -> float:
    """Returns the mean, or nan without values."""
    return float(np.mean(values)) if len(values) else float("nan")


def crossing(spec: AnchorSpec) -> Bool[np.ndarray, " A"]:
    """Returns which anchors reach over the border of the input, by more than rounding."""
    return anchor_ops.crossing(generate(spec))


def measure(experiment: config.Experiment, data: BoxSet) -> Coverage:
    """Matches every object of a data set with the anchors of a config, without a picture.

    Pictures are warped whole to the network's input, as in evaluation, which leaves normalised
    boxes as they are; training also crops and expands them. The matcher is training's, and
    difficult objects take part as they do there. RefineDet's anchors are those that its first step
    starts from. The config's classes need not be those of the data set.

    Raises:
        ValueError: for anchors that contradict the network.
    """
    spec = anchor_spec(experiment)
    anchors = jnp.asarray(generate(spec))
    if not experiment.loss.border_anchors:
        # Without an area they overlap nothing, so that no object is matched with them.
        anchors = jnp.where(crossing(spec)[:, None], anchors * np.array((1, 1, 0, 0)), anchors)
    map_of = np.repeat(np.arange(len(spec.maps)), spec.per_map)
    uses = np.zeros(len(anchors), np.int64)
    found: list[list[_Served]] = [[] for _ in data.images]
    for indices, batch, valid in _batches(data.images, len(anchors)):
        served, used = jax.device_get(
            _serve(batch, valid, anchors, iou_threshold=experiment.loss.iou_threshold)
        )
        uses += used
        for i, index in enumerate(indices):
            found[index] = _Served(*(values[i][valid[i]] for values in served))
    parts = [one for one in found if one]
    columns = zip(*parts, strict=True) if parts else np.zeros((4, 1, 0))
    best_iou, positives, matched_iou, anchor = map(np.concatenate, columns)
    return Coverage(
        name=experiment.name,
        data=data.name,
        spec=spec,
        class_names=data.class_names,
        iou_threshold=experiment.loss.iou_threshold,
        num_images=len(data.images),
        boxes_xyxy=data.boxes(),
        labels=np.concatenate([np.zeros(0, int), *(one.labels for one in data.images)]),
        picture_area=np.concatenate([np.zeros(0), *map(_picture_area, data.images)]),
        best_iou=best_iou,
        positives=positives.astype(int),
        matched_iou=matched_iou,
        source=np.where(positives > 0, map_of[anchor.astype(int)], -1),
        uses=uses,
    )


class _Served(NamedTuple):
    """What the matcher gives the objects of an image, or of a batch."""

    best_iou: Float[Array, "*B G"]
    positives: Int[Array, "*B G"]
    matched_iou: Float[Array, "*B G"]
    anchor: Int[Array, "*B G"]  # the matched one of largest IoU, the first of equals


@functools.partial(jax.jit, static_argnames="iou_threshold")
def _serve(
    boxes_xyxy: Float[Array, "B G 4"],
    valid: Bool[Array, "B G"],
    anchors: Float[Array, "A 4"],
    *,
    iou_threshold: float,
) -> tuple[_Served, Int[Array, " A"]]:
    """Returns how a batch's objects are served, and how many each anchor is trained towards."""

    def of_one_image(boxes_xyxy: Array, valid: Array) -> tuple[_Served, Array]:
        matches = matching.match(boxes_xyxy, valid, anchors, iou_threshold=iou_threshold)
        iou = boxes.pairwise_iou(boxes_xyxy, boxes.cxcywh_to_xyxy(anchors))
        objects = jnp.arange(len(boxes_xyxy))[:, None]
        own = matches.positive & (matches.gt_index == objects)
        own_iou = jnp.where(own, iou, -1)
        matched_iou = own_iou.max(axis=1)
        A = len(anchors)
        # An argmax, as two reductions that a CPU does with vector instructions.
        first = jnp.where(own_iou == matched_iou[:, None], jnp.arange(A), A).min(axis=1)
        served = _Served(
            iou.max(axis=1), own.sum(axis=1), jnp.maximum(matched_iou, 0), jnp.minimum(first, A - 1)
        )
        return served, matches.positive

    served, positive = jax.vmap(of_one_image)(boxes_xyxy, valid)
    return served, positive.sum(axis=0)


def _batches(
    images: tuple[ImageBoxes, ...], num_anchors: int
) -> Iterator[tuple[list[int], np.ndarray, np.ndarray]]:
    """Yields images with about as many objects: their numbers, padded boxes and valid slots.

    The padded number is a power of two, so that there are few shapes to compile and fewer than half
    of the slots of an image are empty. Images without objects are in no batch.
    """
    slots: dict[int, list[int]] = {}
    for index, image in enumerate(images):
        if count := len(image.labels):
            slots.setdefault(1 << (count - 1).bit_length(), []).append(index)
    for G, indices in sorted(slots.items()):
        size = max(1, _BATCH_NUMBERS // (G * num_anchors))
        for start in range(0, len(indices), size):
            chosen = indices[start : start + size]
            batch = np.zeros((size, G, 4), np.float32)
            valid = np.zeros((size, G), bool)
            for i, index in enumerate(chosen):
                count = len(images[index].labels)
                batch[i, :count] = images[index].boxes_xyxy
                valid[i, :count] = True
            yield chosen, batch, valid


def _picture_area(image: ImageBoxes) -> Float[np.ndarray, " n"]:
    sides = (image.boxes_xyxy[:, 2:] - image.boxes_xyxy[:, :2]).astype(np.float64)
    height, width = image.size or (np.nan, np.nan)
    return sides.prod(axis=1) * height * width
