"""Reading one file of COCO instances, without the pictures; `coco_categories` reads its categories.

- Every picture has one id and one file_name, and comes once; two entries for one of them would
  divide its objects among them. An id is a whole number or a text, and 1 is not "1".
- Height and width may both be missing, null or 0: they are those of the picture then.
- A bbox is four numbers: x, y, width, height. An area that is missing, null or 0 is that of the
  bbox; of a mask it is larger than 0 and no larger than the picture. `iscrowd` is 0 or 1.
- Nothing else is read; a mask without a bbox is an error.
"""

import gzip
import io
import pathlib
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ssd_jax.data import coco_categories, examples, json_fields, plain_files
from ssd_jax.data.coco_categories import Category
from ssd_jax.data.examples import Object, Problems

KEYS = ("images", "annotations", "categories")

_MOST_BYTES = 8 << 30


class Annotation(NamedTuple):
    """An entry of `annotations`, unchecked, and its place."""

    fields: Mapping[str, Any]
    where: str


class ImageEntry(NamedTuple):
    """An entry of `images` and what refers to it."""

    image_id: int | str
    file_name: str
    size: tuple[int, int] | None  # height, width; None where it does not say
    annotations: list[Annotation]

    @property
    def where(self) -> str:
        """What the picture is called in a problem."""
        return f"image {self.image_id} ({self.file_name})"


class CocoFile:
    """The content of a file.

    Args:
        path: a JSON file, or one that gzip compressed (.gz).
        content: what `load` returned, where it is read already.

    Raises:
        OSError: where it cannot be opened.
        ValueError: where it is not of this format, with its path.
    """

    def __init__(self, path: pathlib.Path, content: Any = None):
        self.path = path
        content = load(path) if content is None else content
        if not isinstance(content, dict) or not all(
            isinstance(content.get(key), list) for key in KEYS
        ):
            raise ValueError(
                f"expected lists {', '.join(KEYS)} in {path}; mend it, or move it away"
            )
        self._images = content["images"]
        self._annotations = content["annotations"]
        self.num_images = len(self._images)
        self.num_annotations = len(self._annotations)
        self.categories = coco_categories.read(path, content["categories"])

    def used_categories(self) -> set[int]:
        """Returns the ids that annotations refer to."""
        ids = (a.get("category_id") for a in self._annotations if isinstance(a, dict))
        return {number for number in ids if isinstance(number, int)}

    def areas_of_zero(self) -> int:
        """Returns how many annotations have an area of 0."""
        return sum(1 for a in self._annotations if isinstance(a, dict) and a.get("area") == 0)

    def pictures(self, problems: Problems) -> Iterator[ImageEntry]:
        """Yields the pictures in their order, and adds what cannot be used to `problems`."""
        entries, annotations = self._entries(problems)
        names, ids = defaultdict(set), defaultdict(set)  # by id, by name
        for entry in entries:
            names[str(entry.image_id)].add(entry.file_name)  # a record has only the text
            ids[entry.file_name].add(str(entry.image_id))
        self._add_annotations(annotations, problems)
        seen = set()
        for entry in entries:
            others = names[str(entry.image_id)] - {entry.file_name}
            namesakes = ids[entry.file_name] - {str(entry.image_id)}
            if others or namesakes:
                other = min(others) if others else f"image {min(namesakes)}"
                shared = "id" if others else "file_name"
                problems.add(
                    self.path, f"has the same {shared} as {other}; neither is used", entry.where
                )
            elif str(entry.image_id) in seen:
                where = f"image {entry.image_id}"
                problems.add(self.path, "listed more than once, used once", where)
            else:
                seen.add(str(entry.image_id))
                yield entry

    def _entries(self, problems: Problems) -> tuple[list[ImageEntry], dict[Any, list[Annotation]]]:
        """Returns the pictures, and a list for each id, which those with this id share."""
        entries, annotations = [], {}
        for number, image in enumerate(self._images, start=1):
            where = f"image number {number}"
            try:
                fields = json_fields.mapping(image)
                absent = [key for key in ("file_name", "id") if fields.get(key) is None]
                if "id" not in absent:
                    image_id = json_fields.identifier(fields, "id")
                    where = f"image {image_id}"
                    annotations.setdefault(image_id, [])
                if absent:
                    raise ValueError(f"no {', '.join(absent)}")
                file_name = json_fields.text(fields, "file_name")
                entries.append(
                    ImageEntry(image_id, file_name, _size(fields), annotations[image_id])
                )
            except ValueError as error:
                problems.add(self.path, error, where)
        return entries, annotations

    def _add_annotations(self, by_image: dict[Any, list[Annotation]], problems: Problems) -> None:
        for number, item in enumerate(self._annotations, start=1):
            where = f"annotation number {number}"
            try:
                fields = json_fields.mapping(item)
                if fields.get("id") is not None:
                    where = f"annotation {json_fields.shown(fields['id'])}"
                image_id = json_fields.identifier(fields, "image_id")
                if image_id not in by_image:
                    raise ValueError(f"no image with id {image_id!r}")
                by_image[image_id].append(Annotation(fields, where))
            except ValueError as error:
                problems.add(self.path, error, where)


def classes(
    files: Sequence[CocoFile], wanted: Sequence[str] = ()
) -> tuple[tuple[Category, ...], list[str]]:
    """Returns what `coco_categories.classes` does, of files that are read together."""
    used = set().union(*(file.used_categories() for file in files))
    return coco_categories.classes({file.path: file.categories for file in files}, used, wanted)


def load(path: pathlib.Path) -> Any:
    """Parses a file.

    Raises:
        OSError: where it cannot be opened.
        ValueError: where it is not JSON, with its path.
    """
    try:
        if path.suffix == ".gz":
            return json_fields.parse(_decompress(path))
        return json_fields.parse(plain_files.read(path, _MOST_BYTES))
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None


def read_object(
    annotation: Mapping[str, Any],
    size: tuple[int, int],
    category_names: Mapping[int, str],
    class_names: Sequence[str],
) -> Object:
    """Returns an object, once it is checked.

    Args:
        annotation: as it is written.
        size: height and width of the picture that it refers to.
        category_names: by id.
        class_names: those to use, in the order of their labels.

    Raises:
        ValueError: with the reason, without a place; `examples.NoAreaError` for a box without area.
    """
    number = json_fields.whole_number(annotation, "category_id")
    name = category_names.get(number)
    if name not in class_names:
        raise ValueError(f"unknown class {name or number!r}")
    try:
        x, y, width, height = json_fields.numbers(annotation, "bbox", 4)
    except ValueError as error:
        raise ValueError(f"expected a bbox of four numbers, {error}") from None
    crowd = json_fields.flag(annotation, "iscrowd")
    box = examples.continuous_box((x, y, x + width, y + height), size, first_pixel=0)
    return Object(
        box=box,
        label=class_names.index(name),
        area=_area(annotation, size) or width * height,
        crowd=crowd,
    )


def _area(annotation: Mapping[str, Any], size: tuple[int, int]) -> float:
    area = json_fields.optional_number(annotation, "area") or 0.0
    # The outline of a mask may run along the picture's border.
    if not 0 <= area <= (size[0] + 1) * (size[1] + 1):
        raise ValueError(
            f"expected an area in pixels, from 0 to {size[1]} x {size[0]}, got {area:g}"
        )
    return float(area)


def _size(fields: Mapping[str, Any]) -> tuple[int, int] | None:
    keys = ("height", "width")
    absent = [key for key in keys if fields.get(key) is None]
    if len(absent) == 2:
        return None
    if absent:
        raise ValueError(f"no {absent[0]}")
    try:
        height, width = (json_fields.whole_number(fields, key) for key in keys)
    except ValueError:
        values = " and ".join(json_fields.shown(fields[key]) for key in keys)
        raise ValueError(
            f"expected whole numbers of pixels in height and width, got {values}"
        ) from None
    return (height, width) if height or width else None


def _decompress(path: pathlib.Path) -> bytes:
    with gzip.open(io.BytesIO(plain_files.read(path))) as stream:
        data = stream.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ValueError(f"expected at most {_MOST_BYTES:,} bytes")
    return data
