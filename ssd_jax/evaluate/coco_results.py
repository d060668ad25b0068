"""detections.json: COCO's results format, a JSON list with one entry per detection.

{"image_id": 42, "category_id": 18, "bbox": [x, y, width, height], "score": 0.236}, in continuous
pixels of the original image (https://cocodataset.org/#format-results).
"""

import json
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from ssd_jax.evaluate.ground_truth import ImageDetections


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
      detections: of any number of images.
      category_ids: the category's number for labels 1 .. C-1 (COCO's have gaps); by default the
        label itself.
    """
    lines = []
    for found in detections:
        corners = np.asarray(found.boxes_xyxy, np.float64).reshape(-1, 4)
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        categories = found.labels
        if category_ids is not None:
            categories = np.asarray(category_ids)[np.asarray(found.labels, int) - 1]
        image_id = _coco_image_id(found.image_id)
        for box, score, category in zip(
            boxes.round(3).tolist(),
            np.asarray(found.scores, np.float64).round(6).tolist(),
            np.asarray(categories, int).tolist(),
            strict=True,
        ):
            entry = {"image_id": image_id, "category_id": category, "bbox": box, "score": score}
            lines.append(json.dumps(entry, ensure_ascii=False))
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def read_coco_results(
    path: pathlib.Path, *, category_ids: Sequence[int] | None = None
) -> list[ImageDetections]:
    """Reads detections in COCO's results format, image after image in the order of the file.

    Images without detections are not in such a file, so they are not in the result.

    Args:
      path: the file.
      category_ids: the category's number for labels 1 .. C-1; by default the label itself.

    Raises:
      ValueError: for a file of another format, or a category that is not among `category_ids`.
    """
    entries = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(entries, list):
        raise ValueError(f"coco_results.read_coco_results: expected a list of detections in {path}")
    label_of = None if category_ids is None else {c: i for i, c in enumerate(category_ids, start=1)}
    rows: dict[str, list[tuple[list[float], float, int]]] = {}
    for number, entry in enumerate(entries):
        try:
            image_id, category = str(entry["image_id"]), entry["category_id"]
            x, y, width, height = entry["bbox"]
            row = ([x, y, x + width, y + height], entry["score"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"coco_results.read_coco_results: expected image_id, category_id, bbox of four "
                f"numbers and score, got {entry} as entry {number} of {path}"
            ) from error
        if label_of is not None and category not in label_of:
            raise ValueError(
                f"coco_results.read_coco_results: unknown category {category} in entry {number} of "
                f"{path}"
            )
        label = category if label_of is None else label_of[category]
        rows.setdefault(image_id, []).append((*row, label))
    return [
        ImageDetections(
            image_id,
            boxes_xyxy=np.array([box for box, _, _ in found], np.float64),
            scores=np.array([score for _, score, _ in found], np.float64),
            labels=np.array([label for _, _, label in found], np.int32),
        )
        for image_id, found in rows.items()
    ]


def _coco_image_id(image_id: str) -> int | str:
    """Returns COCO's number where the name is one; "000001", a file of VOC, stays as it is."""
    is_number = image_id.isdecimal() and str(int(image_id)) == image_id
    return int(image_id) if is_number else image_id
