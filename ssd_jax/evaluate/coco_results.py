"""detections.json: COCO's results format, a JSON list with one entry per detection.

{"image_id": 42, "category_id": 18, "bbox": [x, y, width, height], "score": 0.236}, in continuous
pixels of the original image (https://cocodataset.org/#format-results).

An image_id that is a whole number as people write it ("42") becomes a JSON number, as COCO's are;
any other, "000042" too, stays a string.
"""

import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import BinaryIO

import numpy as np

from ssd_jax.evaluate.ground_truth import xywh
from ssd_jax.inference import ImageDetections

_HEAD, _TAIL = b"[", b"\n]\n"

# What other programs read an id into.
_MOST_ID = 2**63 - 1


def write_coco_results(
    path: pathlib.Path,
    detections: Iterable[ImageDetections],
    *,
    category_ids: Sequence[int] | None = None,
) -> None:
    """Writes detections in COCO's results format, one line each.

    Coordinates are rounded to a thousandth of a pixel and scores to a millionth.

    Args:
        path: the file.
        detections: the detections of any number of images.
        category_ids: the category's number for labels 1 .. C-1 (COCO's have gaps); by default the
            label itself.
    """
    lines = [line for found in detections for line in _lines(found, category_ids)]
    path.write_bytes(_HEAD + b",".join(lines) + _TAIL)


class GrowingResults:
    """A new file in COCO's results format that can be read after every image that is added.

    While the block runs it is called NAME.part.json, and then, however the block ended, by its
    name. So an interruption loses no detection, and a kill leaves what was found before.

        with GrowingResults(path) as results:
            results.add(found)
    """

    def __init__(self, path: pathlib.Path, *, category_ids: Sequence[int] | None = None) -> None:
        """Names the file, which is not there yet; `write_coco_results` explains the ids."""
        self._path = path
        self._part = path.with_name(f"{path.stem}.part{path.suffix}")
        self._category_ids = category_ids
        self._file: BinaryIO
        self._end = len(_HEAD)  # of the entries; the tail follows

    def __enter__(self) -> "GrowingResults":
        if self._path.exists():
            raise FileExistsError(f"{self._path} exists; it is not written over")
        self._file = self._part.open("xb", buffering=0)
        self._write(0, _HEAD + _TAIL)
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._part.rename(self._path)

    def add(self, found: ImageDetections) -> None:
        """Writes the detections of a further image."""
        lines = _lines(found, self._category_ids)
        if not lines:
            return
        begin = b"," if self._end > len(_HEAD) else b""
        content = begin + b",".join(lines)
        try:
            self._write(self._end, content + _TAIL)
        except BaseException as error:  # back to what was there before
            self._file.truncate(self._end)
            self._write(self._end, _TAIL)
            if isinstance(error, OSError):  # of a full disk, without the name
                raise OSError(error.errno, error.strerror, str(self._part)) from None
            raise
        self._end += len(content)

    def _write(self, start: int, content: bytes) -> None:
        self._file.seek(start)
        rest = memoryview(content)
        while rest:
            rest = rest[self._file.write(rest) :]


def _lines(found: ImageDetections, category_ids: Sequence[int] | None) -> list[bytes]:
    """Returns an image's entries, each with the line break before it."""
    boxes = xywh(np.asarray(found.boxes_xyxy, np.float64).reshape(-1, 4))
    categories = found.labels
    if category_ids is not None:
        categories = np.asarray(category_ids)[np.asarray(found.labels, int) - 1]
    image_id = _coco_image_id(found.image_id)
    lines = []
    for box, score, category in zip(
        boxes.round(3).tolist(),
        np.asarray(found.scores, np.float64).round(6).tolist(),
        np.asarray(categories, int).tolist(),
        strict=True,
    ):
        entry = {"image_id": image_id, "category_id": category, "bbox": box, "score": score}
        text = "\n" + json.dumps(entry, ensure_ascii=False)
        # A file's name need not be UTF-8; its odd bytes become JSON's own escapes.
        lines.append(text.encode("utf-8", "backslashreplace"))
    return lines


def _coco_image_id(image_id: str) -> int | str:
    """Returns COCO's number where the name is one; "000001", a file of VOC, stays as it is."""
    is_number = image_id.isdecimal() and str(int(image_id)) == image_id
    return int(image_id) if is_number and int(image_id) <= _MOST_ID else image_id
