"""The boxes of a data set without its pictures: from COCO's JSON, or from prepared records.

A file is read as `launch.prepare` reads it (`coco_file`), and what stops that command stops this,
except that boxes without an area are counted and left out. There are no pictures to measure, so
every entry needs a height and a width.
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ssd_jax.data import coco_file, examples, records

_SHOWN_PROBLEMS = 20


class ImageBoxes(NamedTuple):
    """The objects of one picture; crowds are left out."""

    image_id: str
    boxes_xyxy: Float[np.ndarray, "n 4"]  # normalised
    labels: Int[np.ndarray, " n"]  # 1 .. C-1
    size: tuple[int, int] | None = None  # height, width of the picture, pixels; None: unknown


class BoxSet(NamedTuple):
    """The objects of a data set."""

    name: str
    class_names: tuple[str, ...]
    images: tuple[ImageBoxes, ...]
    dropped: int  # boxes without an area, and crowds

    def boxes(self) -> Float[np.ndarray, "n 4"]:
        """Returns every box, image by image, normalised."""
        return np.concatenate([np.zeros((0, 4)), *(image.boxes_xyxy for image in self.images)])

    def sample(self, most: int, seed: int = 0) -> Float[np.ndarray, "n 4"]:
        """Returns every box, or `most` drawn at random where there are more, normalised."""
        boxes = self.boxes()
        if len(boxes) <= most:
            return boxes
        return np.random.default_rng(seed).choice(boxes, most, replace=False)

    def sample_on(
        self, image_size: tuple[int, int], most: int, seed: int = 0
    ) -> Float[np.ndarray, "n 4"]:
        """Returns a `sample` in pixels of an input of (height, width), without empty boxes."""
        height, width = image_size
        boxes = self.sample(most, seed) * np.array((width, height) * 2)
        return boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]

    def sides(self) -> Float[np.ndarray, "n 2"]:
        """Returns the width and height of every box, normalised."""
        boxes = self.boxes()
        return boxes[:, 2:] - boxes[:, :2]


def read(sources: Sequence[str], data_dir: str = "datasets") -> BoxSet:
    """Returns the boxes of several sources together.

    Args:
        sources: each a COCO file (.json or .json.gz), or NAME:SPLIT of a prepared data set, or
            several of them separated by commas.
        data_dir: the folder of the prepared data sets.

    Raises:
        ValueError: for a file that is missing, is not COCO's or holds what cannot be used, and for
            sources whose classes differ.
    """
    if not sources:
        raise ValueError("annotations.read: expected at least one source, got none")
    sources = [one.strip() for source in sources for one in source.split(",")]
    sets = [_read_one(source, data_dir) for source in sources]
    for source, one in zip(sources, sets, strict=True):
        if one.class_names != sets[0].class_names:
            raise ValueError(
                f"annotations.read: {source} has the classes {one.class_names}, but {sources[0]} "
                f"has {sets[0].class_names}"
            )
    return BoxSet(
        name=", ".join(one.name for one in sets),
        class_names=sets[0].class_names,
        images=tuple(image for one in sets for image in one.images),
        dropped=sum(one.dropped for one in sets),
    )


def _read_one(source: str, data_dir: str) -> BoxSet:
    if source.endswith((".json", ".json.gz")):
        return _read_coco(pathlib.Path(source))
    opened = records.open_source(source, data_dir)
    images, dropped = [], 0
    for record in (opened[i] for i in range(len(opened))):
        keep = ~record.crowd
        dropped += int(record.crowd.sum())
        boxes, labels = record.boxes_xyxy[keep], record.labels[keep]
        size = record.height, record.width
        images.append(ImageBoxes(record.image_id, boxes, labels, size))
    return BoxSet(source, opened.class_names, tuple(images), dropped)


def _read_coco(path: pathlib.Path) -> BoxSet:
    try:
        file = coco_file.CocoFile(path)
        categories, _ = coco_file.classes((file,))
    except FileNotFoundError:
        raise ValueError(f"annotations.read: no file {path}") from None
    except (OSError, ValueError) as error:
        raise ValueError(
            f"annotations.read: {path} is not a COCO instances file: {error}"
        ) from None
    names = {category.id: category.name for category in categories}
    class_names = tuple(names.values())
    problems = examples.Problems()
    images, dropped = [], 0
    for picture in file.pictures(problems):
        if picture.size is None:
            problems.add(path, "no height, width", picture.where)
            continue
        boxes, labels = [], []
        for annotation in picture.annotations:
            try:
                found = coco_file.read_object(annotation.fields, picture.size, names, class_names)
            except examples.NoAreaError:
                dropped += 1
                continue
            except ValueError as error:
                problems.add(path, error, f"{annotation.where} of {picture.file_name}")
                continue
            if found.crowd:
                dropped += 1
                continue
            boxes.append(found.box)
            labels.append(found.label + 1)
        height, width = picture.size
        pixels = np.array(boxes, np.float64).reshape(-1, 4)
        normalised = (pixels / (width, height, width, height)).astype(np.float32)
        labels = np.array(labels, np.int32)
        images.append(ImageBoxes(picture.file_name, normalised, labels, picture.size))
    if problems:
        shown = "".join(f"\n  {problem}" for problem in list(problems)[:_SHOWN_PROBLEMS])
        raise ValueError(f"annotations.read: {len(problems)} problem(s) in {path}:{shown}")
    return BoxSet(path.name, class_names, tuple(images), dropped)
