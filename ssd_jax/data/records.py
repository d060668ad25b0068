"""Reading prepared data sets by name, record by record, without TensorFlow.

A data set is named as `NAME:SPLIT`, and several, separated by commas, are read one after the
other. NAME is that of `launch.prepare` or of TFDS (`voc/2007`, `voc/2012`, `coco/2017`); SPLIT is
anything TFDS understands: `train`, `train+validation`, `train[:10%]`; and `trainval` of TFDS's
voc, which has only the halves. For example

    voc/2007:trainval,voc/2012:trainval

TFDS's own voc and coco are known by their features, under any name: no other voc has
`labels_no_difficult`, and neither has a picture's size, which `builder` writes.
"""

import bisect
import difflib
import itertools
import json
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from ssd_jax.data import images

# The numbers of COCO's 80 classes; TFDS's coco keeps only their order.
COCO_CATEGORY_IDS = tuple(
    number for number in range(1, 91) if number not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
)
_SIZE = "image/height"  # a feature of `builder` alone


class Record(NamedTuple):
    """One picture and its objects, nothing dropped and nothing padded."""

    image_id: str
    image: bytes  # encoded
    height: int  # of the upright picture, in pixels
    width: int
    boxes_xyxy: np.ndarray  # float32[n, 4], normalised
    labels: np.ndarray  # int32[n], 1 .. C-1
    difficult: np.ndarray  # bool[n]
    crowd: np.ndarray  # bool[n]
    area: np.ndarray  # float32[n], pixels squared; of the mask where the format has one

    def decode(self, *, canvas_size: tuple[int, int] | None = None) -> np.ndarray:
        """Returns the picture as `images.decode` does, without a limit of memory.

        It was decoded within the limit when the data set was prepared.
        """
        with images.memory_limit(None):
            return images.decode(self.image, canvas_size=canvas_size)

    def boxes_in_pixels(self) -> np.ndarray:
        """Returns the boxes as float64[n, 4] in pixels, continuous: x1 - x0 is the width.

        Normalised float32 differs from the annotation by about a ten-thousandth of a pixel;
        annotations are written with three decimals at most, so rounding to those gives them back.
        """
        size = np.array((self.width, self.height) * 2, np.float64)
        return np.round(self.boxes_xyxy.astype(np.float64) * size, 3)


class Source(Sequence[Record]):
    """The records of one or more prepared data sets; use `open_source`.

    Reads one for each index, and can be pickled, for worker processes.

    Attributes:
        class_names: without background; the class of label l is class_names[l - 1].
        category_ids: the numbers of the classes in the original annotations.
    """

    def __init__(self, parts: list["_Part"]):
        self._parts = parts
        self._ends = list(itertools.accumulate(len(part.rows) for part in parts))
        self.class_names = parts[0].class_names
        self.category_ids = parts[0].category_ids

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Record:
        index = int(index)
        if not 0 <= index < len(self):
            raise IndexError(f"records.Source: expected an index below {len(self)}, got {index}")
        number = bisect.bisect_right(self._ends, index)
        start = self._ends[number - 1] if number else 0
        return self._parts[number].record(index - start)

    def __repr__(self) -> str:
        return f"Source({', '.join(part.spec for part in self._parts)}: {len(self)} records)"


def open_source(spec: str, data_dir: str | pathlib.Path) -> Source:
    """Opens `NAME:SPLIT`, or several of them separated by commas, as one.

    Raises:
        ValueError: where a data set or a split is not there, with those that are and the command
            that prepares it; and where two data sets have different classes.
    """
    data_dir = pathlib.Path(data_dir)
    parts = [_Part(item.strip(), data_dir) for item in spec.split(",")]
    for part in parts[1:]:
        if part.class_names != parts[0].class_names:
            expected, got = (f"{x.spec} ({', '.join(x.class_names)})" for x in (parts[0], part))
            raise ValueError(
                f"records.open_source: expected the classes of {expected}, got those of {got}"
            )
    return Source(parts)


def prepared(data_dir: str | pathlib.Path) -> dict[str, pathlib.Path]:
    """Returns the folder of the newest version of every prepared data set, by name."""
    data_dir = pathlib.Path(data_dir)
    found = {}
    for pattern in ("*/*/features.json", "*/*/*/features.json"):  # name or name/config
        for folder in (path.parent for path in data_dir.glob(pattern)):
            name = folder.parent.relative_to(data_dir).as_posix()
            if not name.startswith(".") and _version(folder) > _version(found.get(name)):
                found[name] = folder
    return dict(sorted(found.items()))


class _Part:
    """One split of one data set."""

    def __init__(self, spec: str, data_dir: pathlib.Path):
        name, _, split = spec.partition(":")
        if not (name and split):
            raise ValueError(f"records.open_source: expected NAME:SPLIT, got {spec!r}")
        folder = _find(name, data_dir)
        builder = tfds.builder_from_directory(folder)
        self.spec = spec
        self.rows = _open_rows(builder, name, split)
        self.class_names = _class_names(builder.info, name)
        self.category_ids = _category_ids(folder, builder.info)
        self._is_voc_of_tfds = _is_voc_of_tfds(builder.info)

    def record(self, index: int) -> Record:
        row = self._row(index)
        objects = row["objects"]
        if _SIZE in row:
            height, width = int(row[_SIZE]), int(row["image/width"])
        else:
            height, width = images.upright_size(row["image"])

        boxes_yxyx = np.array(objects["bbox"], np.float32).reshape(-1, 4)
        boxes_xyxy = boxes_yxyx[:, (1, 0, 3, 2)]
        if self._is_voc_of_tfds:
            # It divides VOC's inclusive corners, which count from 1, without a shift.
            shift = np.array((1 / width, 1 / height, 0, 0), np.float32)
            boxes_xyxy = np.maximum(boxes_xyxy - shift, 0)
        sides = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) * np.array((width, height), np.float32)
        none = np.zeros(len(boxes_xyxy), bool)
        return Record(
            image_id=_image_id(row),
            image=row["image"],
            height=height,
            width=width,
            boxes_xyxy=boxes_xyxy,
            labels=np.array(objects["label"], np.int32).reshape(-1) + 1,
            difficult=np.array(objects.get("is_difficult", none), bool).reshape(-1),
            crowd=np.array(objects.get("is_crowd", none), bool).reshape(-1),
            area=np.array(objects.get("area", sides.prod(axis=1)), np.float32).reshape(-1),
        )

    def _row(self, index: int) -> dict:
        try:
            return self.rows[index]
        except Exception as error:  # RuntimeError of array_record, DecodeError of protobuf, ...
            raise ValueError(
                f"records: record {index} of {self.spec} cannot be read from {self._file(index)}: "
                f"{error}; the file is damaged or not all there: copy or prepare the data set again"
            ) from error

    def _file(self, index: int) -> str:
        """Returns the file that a row is in."""
        for part in self.rows.dataset_info.splits[self.rows.split].file_instructions:
            if index < part.take:
                return part.filename
            index -= part.take
        return "a file that is not listed"


def _find(name: str, data_dir: pathlib.Path) -> pathlib.Path:
    found = prepared(data_dir)
    if name in found:
        return found[name]
    near = difflib.get_close_matches(name, found, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    where = f"--data_dir {data_dir}"
    if name.startswith(("voc/", "coco/")):
        command = f"tfds build {name} {where} --file_format array_record"
        command += " (once, where TensorFlow is installed)"
    else:
        source = "shapes" if name == "shapes" else "voc|coco --source DIR"
        command = f"python -m launch.prepare --format {source} --name {name} {where}"
    raise ValueError(
        f"records.open_source: no data set {name!r} in {data_dir}, "
        f"which has: {', '.join(found) or 'none'}{hint}. Prepare it with: {command}"
    )


def _open_rows(builder: tfds.core.DatasetBuilder, name: str, split: str):
    if builder.info.file_format not in tfds.core.FileFormat.with_random_access():
        raise ValueError(
            f"records.open_source: expected {name} in array_record files, got "
            f"{builder.info.file_format.value}; prepare it again with --file_format array_record"
        )
    joined = split == "trainval" and _is_voc_of_tfds(builder.info)
    tfds_split = "train+validation" if joined else split
    try:
        rows = builder.as_data_source(tfds_split, decoders={"image": tfds.decode.SkipDecoding()})
    except (ValueError, NotImplementedError) as error:  # the latter of a slice of `all`
        splits = ", ".join(f"{s.name} ({s.num_examples})" for s in builder.info.splits.values())
        raise ValueError(
            f"records.open_source: no split {split!r} in {name}, which has: {splits}"
        ) from error
    if not len(rows):
        raise ValueError(f"records.open_source: split {split!r} of {name} is empty")
    return rows


def _class_names(info: tfds.core.DatasetInfo, name: str) -> tuple[str, ...]:
    try:
        return tuple(info.features["objects"]["label"].names)
    except KeyError:
        raise ValueError(
            f"records.open_source: expected {name} to have objects with labels, "
            f"got {', '.join(info.features)}"
        ) from None


def _category_ids(folder: pathlib.Path, info: tfds.core.DatasetInfo) -> tuple[int, ...]:
    metadata = folder / "metadata.json"
    if metadata.exists() and (ids := json.loads(metadata.read_text()).get("category_ids")):
        return tuple(ids)
    num_classes = info.features["objects"]["label"].num_classes
    if _is_coco_of_tfds(info) and num_classes == len(COCO_CATEGORY_IDS):
        return COCO_CATEGORY_IDS
    return tuple(range(1, num_classes + 1))


def _is_voc_of_tfds(info: tfds.core.DatasetInfo) -> bool:
    return "labels_no_difficult" in info.features and _SIZE not in info.features


def _is_coco_of_tfds(info: tfds.core.DatasetInfo) -> bool:
    objects = info.features["objects"]
    return {"id", "area", "is_crowd"} <= set(objects.keys()) and _SIZE not in info.features


def _image_id(row: dict) -> str:
    given = row.get("image/id", row.get("image/filename"))
    text = given.decode() if isinstance(given, bytes) else str(given)
    return text if "image/id" in row else pathlib.PurePath(text).stem


def _version(folder: pathlib.Path | None) -> tuple[int, ...]:
    numbers = folder.name.split(".") if folder else []
    return tuple(int(number) for number in numbers) if all(map(str.isdigit, numbers)) else ()
