"""Scenes made of small labelled pictures: a detection data set from a classification one.

The practice set-up for teaching: pictures from a folder of class folders (or a prepared TFDS data
set such as `cifar10`) are enlarged and put at random places on a canvas, several to a scene.

A folder of classes holds a folder for every class and none that is called like a split. Every class
of the pictures for val is one of train's.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from ssd_jax.data import images, plain_files, scenes, split_names
from ssd_jax.data.class_names import check_chosen, check_known
from ssd_jax.data.examples import Example, Object, Problems
from ssd_jax.data.scenes import Scenes

_PLACEMENTS = 50  # tries for one picture before the scene is left with fewer
_JPEG_QUALITY = 95
_BACKGROUND = (40.0, 215.0)  # grey levels of the plain canvas
_NOISE = 12.0  # of the canvas, as a standard deviation in 0..255
_HELD_OUT = ("test", "val", "valid", "validation")  # the first that is there is val


class _LabelledPicture(NamedTuple):
    where: str  # for an error
    source: bytes | pathlib.Path
    label: int  # from 0


@dataclasses.dataclass(kw_only=True)
class FolderScenes(Scenes):
    """Scenes of labelled pictures.

    Attributes:
        source: a folder with `train` and `test` (or `val`, `valid`) folders, each with a folder per
            class; or a folder of class folders, of whose pictures every fifth is kept for val; or
            the folder of a prepared TFDS classification data set, such as
            `datasets/cifar10/3.0.2`.
        class_names: the classes to use, in the order of their labels; by default all.
        max_overlap: the largest IoU of two pictures on a scene.

    Raises:
        ValueError: where the source has no such structure, or a number is out of range.
    """

    source: str | pathlib.Path = dataclasses.field(kw_only=False)
    class_names: Sequence[str] = ()
    num_train: int = 2000
    num_val: int = 400
    image_size: int = 224
    object_size: tuple[float, float] = (64 / 224, 64 / 224)
    max_objects: int = 5
    max_overlap: float = 0.2

    def __post_init__(self) -> None:
        """Finds the pictures."""
        super().__post_init__()
        if not 0 <= self.max_overlap <= 1:
            raise ValueError(
                f"FolderScenes: expected max_overlap in [0, 1], got {self.max_overlap}"
            )
        check_chosen(self.class_names)
        folder = pathlib.Path(self.source)
        self.notes: list[str] = []
        found, pictures = _find(folder, self.notes)
        self.class_names = tuple(self.class_names) or found
        check_known(self.class_names, found, "FolderScenes")
        labels = {found.index(name): label for label, name in enumerate(self.class_names)}
        self._pictures = {
            split: [p._replace(label=labels[p.label]) for p in listed if p.label in labels]
            for split, listed in pictures.items()
        }
        if empty := [split for split, listed in self._pictures.items() if not listed]:
            raise ValueError(f"FolderScenes: no pictures for {', '.join(empty)} in {folder}")
        self.category_ids = tuple(range(1, len(self.class_names) + 1))

    def examples(self, split: str, problems: Problems) -> Iterator[Example]:
        """Yields the scenes of a split, without the pictures that cannot be read."""
        decoded: dict[int, np.ndarray | None] = {}
        for number in range(self.split_sizes[split]):
            rng = self.generator(split, number)
            pixels, objects = self._draw(rng, self._pictures[split], decoded, problems)
            yield scenes.encoded(split, number, pixels, objects, jpeg_quality=_JPEG_QUALITY)

    def _draw(
        self,
        rng: np.random.Generator,
        pictures: list[_LabelledPicture],
        decoded: dict[int, np.ndarray | None],
        problems: Problems,
    ) -> tuple[np.ndarray, list[Object]]:
        """Returns a scene as uint8[H, W, 3], and its objects."""
        side = self.image_size
        scene = rng.uniform(*_BACKGROUND, 3) + rng.normal(0, _NOISE, (side, side, 1))
        objects: list[Object] = []
        for _ in range(rng.integers(1, self.max_objects, endpoint=True)):
            index = int(rng.integers(len(pictures)))
            longer = side * rng.uniform(*self.object_size)
            if index not in decoded:
                decoded[index] = _decode(pictures[index], problems)
            picture = decoded[index]
            if picture is None:
                continue
            scale = longer / max(picture.shape[:2])
            height, width = (max(1, round(n * scale)) for n in picture.shape[:2])
            box = self._free_place(rng, height, width, objects)
            if box is None:
                continue
            left, top = box[:2]
            resized = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
            scene[top : top + height, left : left + width] = np.asarray(resized, np.float32)
            label, area = pictures[index].label, float(height * width)
            objects.append(Object(box=box.astype(np.float64), label=label, area=area))
        return np.clip(scene, 0, 255).round().astype(np.uint8), objects

    def _free_place(
        self, rng: np.random.Generator, height: int, width: int, objects: list[Object]
    ) -> np.ndarray | None:
        """Returns a box of that size, int[4], that overlaps no other too much."""
        for _ in range(_PLACEMENTS):
            top = rng.integers(self.image_size - height, endpoint=True)
            left = rng.integers(self.image_size - width, endpoint=True)
            box = np.array((left, top, left + width, top + height))
            if all(_iou(box, other.box) <= self.max_overlap for other in objects):
                return box
        return None


def _find(
    folder: pathlib.Path, notes: list[str]
) -> tuple[tuple[str, ...], dict[str, list[_LabelledPicture]]]:
    """Returns the classes, and the pictures of each split."""
    if (folder / "features.json").is_file():
        return _find_in_tfds(folder)
    inside = {path.name.lower(): path for path in plain_files.subfolders(folder)}
    held_out = [inside[name] for name in _HELD_OUT if name in inside]
    if "train" not in inside or not held_out:
        names = _class_folders(folder)
        listed = _list(folder, names)
        notes.append(f"{len(names)} classes in {folder}; every fifth picture is kept for val")
        return names, {"train": [p for i, p in enumerate(listed) if i % 5], "val": listed[::5]}
    names = _class_folders(inside["train"])
    if unknown := sorted(set(_class_folders(held_out[0])) - set(names)):
        raise ValueError(
            f"FolderScenes: expected the classes of {inside['train']} in {held_out[0]}, "
            f"got {', '.join(unknown)}"
        )
    used = (inside["train"], held_out[0])
    notes.append(f"{len(names)} classes; train from {used[0]}, val from {used[1]}")
    if ignored := [path.name for path in inside.values() if path not in used]:
        notes.append(f"left out: {', '.join(ignored)} in {folder}")
    return names, {"train": _list(used[0], names), "val": _list(used[1], names)}


def _class_folders(folder: pathlib.Path) -> tuple[str, ...]:
    names = tuple(path.name for path in plain_files.subfolders(folder))
    if not names:
        raise ValueError(f"FolderScenes: expected a folder for every class in {folder}")
    try:
        check_chosen(names)
    except ValueError as error:
        raise ValueError(f"FolderScenes: {folder}: {error}") from None
    if splits := [name for name in names if split_names.is_conventional(name)]:
        raise ValueError(
            f"FolderScenes: expected a folder for every class, or train and one of "
            f"{', '.join(_HELD_OUT)}, in {folder}, got {', '.join(splits)}"
        )
    return names


def _list(folder: pathlib.Path, names: tuple[str, ...]) -> list[_LabelledPicture]:
    return [
        _LabelledPicture(str(path), path, label)
        for label, name in enumerate(names)
        if (folder / name).is_dir()
        for path in sorted((folder / name).iterdir())
        if images.is_picture_name(path) and not plain_files.is_left_behind(path.name)
    ]


def _find_in_tfds(
    folder: pathlib.Path,
) -> tuple[tuple[str, ...], dict[str, list[_LabelledPicture]]]:
    builder = tfds.builder_from_directory(folder)
    features, splits = builder.info.features, builder.info.splits
    held_out = next((name for name in ("test", "validation") if name in splits), None)
    if not {"image", "label"} <= set(features) or "train" not in splits or held_out is None:
        raise ValueError(
            f"FolderScenes: expected pictures with a label and the splits train and test, "
            f"{folder} has {', '.join(features)} and {', '.join(splits)}"
        )

    def pictures(split: str) -> list[_LabelledPicture]:
        rows = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
        return [
            _LabelledPicture(f"{folder}, {split} {i}", row["image"], int(row["label"]))
            for i, row in enumerate(rows)
        ]

    return tuple(features["label"].names), {"train": pictures("train"), "val": pictures(held_out)}


def _decode(picture: _LabelledPicture, problems: Problems) -> np.ndarray | None:
    with problems.noted(picture.where):
        source = picture.source
        return images.decode(source if isinstance(source, bytes) else plain_files.read(source))
    return None


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    inner = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = np.prod(np.maximum(inner, 0))
    return float(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))
