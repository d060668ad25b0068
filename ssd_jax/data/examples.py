"""Annotated pictures, which readers make of every format, and the checks that the formats share.

Corners in files are pixels. VOC's are inclusive and count from 1, COCO's are continuous and start
at 0. `continuous_box` makes x0 .. x1 of both, such that x1 - x0 is the width in pixels (VOC's
inclusive "+1" width).
"""

import contextlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from ssd_jax.data import images, plain_files
from ssd_jax.data.class_names import printable

# Tools that count from 0 write xmin = 0 into VOC files, and others round: a corner this far
# outside the picture is moved onto its border. Farther out is an error.
BORDER_TOLERANCE = 1.0
# Corners that are fractions of the picture may be rounded beyond 1.
_MOST_OF_A_FRACTION = 1.001


class Example(NamedTuple):
    """One annotated picture, as it is written into a data set."""

    image_id: str
    filename: str
    image: bytes  # encoded, as it was in its file
    height: int  # upright, in pixels
    width: int
    boxes_xyxy: np.ndarray  # float64[n, 4], normalised by the upright size
    labels: np.ndarray  # int32[n], from 0, without background: an index into the class names
    difficult: np.ndarray  # bool[n]
    crowd: np.ndarray  # bool[n]
    area: np.ndarray  # float64[n], pixels squared; of the mask where the format has one


class Object(NamedTuple):
    """One checked object, in the pixels of the picture that its annotation refers to."""

    box: np.ndarray  # float64[4], from `continuous_box`
    label: int  # from 0, without background
    area: float
    difficult: bool = False
    crowd: bool = False


class Problem(NamedTuple):
    """Something in the input that cannot be used, and where it is."""

    file: str
    where: str  # the object or the line, empty where it is the whole file
    reason: str

    def __str__(self) -> str:
        where = f", {self.where}" if self.where else ""
        return f"{self.file}{where}: {self.reason}"


class Problems:
    """Collects problems in the order in which they were found, each once."""

    def __init__(self):
        self._found: dict[Problem, None] = {}

    def add(self, file: object, reason: object, where: str = "") -> None:
        """Adds why `file`, or "object 3 (dog)" or the like in it, cannot be used."""
        self._found[Problem(*map(printable, (str(file), where, str(reason))))] = None

    @contextlib.contextmanager
    def noted(self, file: object, where: str = "") -> Iterator[None]:
        """Ends the block at an OSError or a ValueError, which becomes a problem of `file`."""
        try:
            yield
        except (OSError, ValueError) as error:
            self.add(file, error, where)

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)


class Dataset(Protocol):
    """What a format's reader gives to the writer."""

    class_names: tuple[str, ...]  # without background
    category_ids: tuple[int, ...]  # the number of each class in the original annotations
    split_sizes: dict[str, int]
    notes: Sequence[str]  # on how the input was understood and what was left out; may grow

    def examples(self, split: str, problems: Problems) -> Iterator[Example]:
        """Yields what can be used of a split, in order, and adds the rest to `problems`."""
        ...


class NoAreaError(ValueError):
    """Raised for a box that is only a line or a point."""


def continuous_box(
    corners: tuple[float, float, float, float], size: tuple[int, int], *, first_pixel: int
) -> np.ndarray:
    """Returns a box as float64[4], x0 y0 x1 y1 in continuous pixels inside the picture.

    Args:
        corners: xmin, ymin, xmax, ymax as written in the file.
        size: height and width of the picture that the corners refer to.
        first_pixel: 1 where corners are inclusive and count from 1 (VOC), 0 where they are
            continuous (COCO).

    Raises:
        NoAreaError: where the box has no area.
        ValueError: where it is inside out, leaves the picture by more than `BORDER_TOLERANCE`, or
            all corners are between 0 and 1: fractions of the picture, or one pixel.
    """
    x_min, y_min, x_max, y_max = corners
    if not np.isfinite(corners).all():
        raise ValueError(f"corners are not finite: {_text(corners)}")
    for low, high, axis in ((x_min, x_max, "x"), (y_min, y_max, "y")):
        if low > high:
            raise ValueError(f"{axis}min > {axis}max in {_text(corners)}")
        if low == high:
            raise NoAreaError(f"no area: {axis}min = {axis}max in {_text(corners)}")
    height, width = size
    if min(corners) >= 0 and max(corners) <= _MOST_OF_A_FRACTION and max(size) > 1:
        raise ValueError(
            f"expected pixels, got corners between 0 and 1: {_text(corners)}; multiply fractions "
            f"by the picture's size"
        )
    box = np.array((x_min - first_pixel, y_min - first_pixel, x_max, y_max), np.float64)
    inside = np.clip(box, 0, (width, height, width, height))
    if np.abs(box - inside).max() > BORDER_TOLERANCE:
        raise ValueError(f"outside the picture of {width} x {height}: {_text(corners)}")
    if not (inside[:2] < inside[2:]).all():
        raise NoAreaError(f"no area inside the picture of {width} x {height}: {_text(corners)}")
    return inside


def turn_of_annotations(
    annotated_size: tuple[int, int], upright_size: tuple[int, int], orientation: int
) -> int:
    """Returns the orientation that turns boxes onto the upright picture; 1 leaves them as they are.

    Cameras store a picture as the sensor saw it, and an EXIF orientation. Annotations refer
    either to what viewers show or to the stored pixels; the size in the annotation tells which.
    Where it cannot (a square, or half a turn), what viewers show is meant.

    Args:
        annotated_size: height and width in the annotation.
        upright_size: height and width after the EXIF rotation.
        orientation: the picture's EXIF orientation.

    Raises:
        ValueError: where the annotated size is neither the stored nor the upright picture's.
    """
    if annotated_size == upright_size:
        return 1
    if orientation in images.SWAPPING_ORIENTATIONS and annotated_size == upright_size[::-1]:
        return orientation
    raise ValueError(
        f"the annotation says {annotated_size[1]} x {annotated_size[0]}, "
        f"the picture is {upright_size[1]} x {upright_size[0]}"
    )


def turn_upright(boxes_xyxy: np.ndarray, orientation: int) -> np.ndarray:
    """Maps normalised boxes of a stored picture onto the picture that EXIF turned upright."""
    x0, y0, x1, y1 = np.moveaxis(boxes_xyxy, -1, 0)
    turned = {
        1: (x0, y0, x1, y1),
        2: (1 - x1, y0, 1 - x0, y1),  # mirrored
        3: (1 - x1, 1 - y1, 1 - x0, 1 - y0),  # half a turn
        4: (x0, 1 - y1, x1, 1 - y0),
        5: (y0, x0, y1, x1),  # transposed
        6: (1 - y1, x0, 1 - y0, x1),  # a quarter turn clockwise
        7: (1 - y1, 1 - x1, 1 - y0, 1 - x0),
        8: (y0, 1 - x1, y1, 1 - x0),
    }[orientation]
    return np.stack(turned, axis=-1)


def read_picture(path: pathlib.Path, filename: str) -> tuple[bytes, tuple[int, int], int]:
    """Returns an encoded picture, its upright height and width, and its EXIF orientation.

    Raises:
        ValueError: where it cannot be decoded, or `filename`, which is no Unicode, written.
    """
    try:
        encoded = plain_files.read(path)
        upright_size = images.decode(encoded).shape[:2]
        orientation = images.orientation(encoded)
        filename.encode()
    except (OSError, ValueError) as error:
        raise ValueError(f"corrupt picture: {error}") from None
    return encoded, upright_size, orientation


def make_example(
    *,
    image_id: str,
    filename: str,
    image: bytes,
    upright_size: tuple[int, int],
    annotated_size: tuple[int, int],
    turn: int,
    objects: Sequence[Object],
) -> Example:
    """Gathers checked objects into an example, normalised and turned upright.

    Their boxes refer to a picture of `annotated_size`, height and width, and `turn` is the result
    of `turn_of_annotations`.
    """
    height, width = annotated_size
    boxes = np.array([item.box for item in objects], np.float64).reshape(-1, 4)
    return Example(
        image_id=image_id,
        filename=filename,
        image=image,
        height=upright_size[0],
        width=upright_size[1],
        boxes_xyxy=turn_upright(boxes / (width, height, width, height), turn),
        labels=np.array([item.label for item in objects], np.int32),
        difficult=np.array([item.difficult for item in objects], bool),
        crowd=np.array([item.crowd for item in objects], bool),
        area=np.array([item.area for item in objects], np.float64),
    )


def _text(corners: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{corner:g}" for corner in corners) + ")"
