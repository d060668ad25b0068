"""The boxes of a data set without its pictures: from COCO's JSON, or from prepared records."""

import gzip
import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ssd_jax.data import records


class ImageBoxes(NamedTuple):
    """The objects of one picture; crowds are left out."""

    image_id: str
    boxes_xyxy: Float[np.ndarray, "n 4"]  # normalised
    labels: Int[np.ndarray, " n"]  # 1 .. C-1
    size: tuple[int, int] | None = None  # height, width of the picture, pixels; None: not known


class BoxSet(NamedTuple):
    """The objects of a data set."""

    name: str
    class_names: tuple[str, ...]
    images: tuple[ImageBoxes, ...]
    dropped: int  # boxes without area, and crowds

    def boxes(self) -> Float[np.ndarray, "n 4"]:
        """Returns every box, image by image, normalised."""
        return np.concatenate([np.zeros((0, 4)), *(image.boxes_xyxy for image in self.images)])

    def sample(self, most: int, seed: int = 0) -> Float[np.ndarray, "n 4"]:
        """Returns every box, or `most` drawn at random where there are more, normalised."""
        boxes = self.boxes()
        if len(boxes) <= most:
            return boxes
        return np.random.default_rng(seed).choice(boxes, most, replace=False)

    def sides(self) -> Float[np.ndarray, "n 2"]:
        """Returns width and height of every box, normalised: of the picture warped to a square."""
        boxes = self.boxes()
        return boxes[:, 2:] - boxes[:, :2]


def read(sources: Sequence[str], data_dir: str = "datasets") -> BoxSet:
    """Returns the boxes of several sources together.

    Args:
      sources: each a COCO file (.json or .json.gz), or NAME:SPLIT of a prepared data set, or
        several of them separated by commas.
      data_dir: of the latter.

    Raises:
      ValueError: for a file that is not there or not COCO's, or sources with other classes.
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
        images.append(
            ImageBoxes(
                record.image_id,
                record.boxes_xyxy[keep],
                record.labels[keep],
                (record.height, record.width),
            )
        )
    return BoxSet(source, opened.class_names, tuple(images), dropped)


def _read_coco(path: pathlib.Path) -> BoxSet:
    try:
        data = path.read_bytes()
        content = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
        categories = sorted(content["categories"], key=lambda category: category["id"])
        sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
        names = {image["id"]: str(image["file_name"]) for image in content["images"]}
        boxes: dict[Any, list[tuple[float, ...]]] = {image: [] for image in sizes}
        labels: dict[Any, list[int]] = {image: [] for image in sizes}
        label_of = {category["id"]: i for i, category in enumerate(categories, start=1)}
        dropped = 0
        for annotation in content["annotations"]:
            x, y, w, h = annotation["bbox"]
            if annotation.get("iscrowd") or min(w, h) <= 0:
                dropped += 1
                continue
            image = annotation["image_id"]
            width, height = sizes[image]
            boxes[image].append((x / width, y / height, (x + w) / width, (y + h) / height))
            labels[image].append(label_of[annotation["category_id"]])
    except FileNotFoundError:
        raise ValueError(f"annotations.read: no file {path}") from None
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"annotations.read: {path} is not a COCO instances file: {type(error).__name__} {error}"
        ) from None
    images = tuple(
        ImageBoxes(
            names[image],
            np.clip(np.array(boxes[image], np.float32).reshape(-1, 4), 0, 1),
            np.array(labels[image], np.int32),
            (sizes[image][1], sizes[image][0]),
        )
        for image in sizes
    )
    return BoxSet(path.name, tuple(c["name"] for c in categories), images, dropped)
