"""Reading a PASCAL VOC folder: JPEGImages, Annotations (XML) and ImageSets/Main.

Any picture format may stand in JPEGImages. A split is a plain list in ImageSets/Main; the
per-class lists there (`dog_train.txt`, with a second column of 1, 0 and -1) are not splits. A
folder without lists is one split, `train`. Corners are inclusive, count from 1, and need not be
whole numbers.
"""

import pathlib
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from ssd_jax.data import examples, images
from ssd_jax.data.examples import Example, Object, Problems

# Development kit, section 2.2; in this order in every published table.
CLASS_NAMES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class VocFolder:
    """The annotated pictures of one VOC folder.

    Args:
        source: the folder that holds JPEGImages and Annotations, or a VOCdevkit with exactly one
            such folder in it.
        class_names: the classes in the order of their labels; by default every name that occurs
            in the annotations, sorted (which is VOC's own order).
        drop_others: leave objects of other classes out without a complaint.

    Raises:
        ValueError: where the folder is not a VOC folder.
    """

    def __init__(
        self,
        source: str | pathlib.Path,
        *,
        class_names: Sequence[str] = (),
        drop_others: bool = False,
    ):
        self._folder = _find_folder(pathlib.Path(source))
        self._drop_others = drop_others
        self._pictures = {
            path.stem: path
            for path in sorted((self._folder / "JPEGImages").iterdir())
            if images.is_picture_name(path)
        }
        self._splits = _read_splits(self._folder) or {"train": self._all_ids()}
        self.split_sizes = {name: len(ids) for name, ids in self._splits.items()}
        found = self._collect_class_names()
        self.class_names = tuple(class_names) or found
        missing = [name for name in self.class_names if name not in found]
        if drop_others and missing:  # or a misspelt class would be dropped itself
            raise ValueError(
                f"voc.VocFolder: expected classes among {', '.join(found)}, "
                f"got {', '.join(missing)}"
            )
        self.category_ids = tuple(range(1, len(self.class_names) + 1))

    def examples(self, split: str, problems: Problems) -> Iterator[Example]:
        """Yields what can be used of a split, in its order, and adds the rest to `problems`."""
        split_file = self._folder / "ImageSets" / "Main" / f"{split}.txt"
        for image_id, count in Counter(self._splits[split]).items():
            if count > 1:
                problems.add(split_file, "listed more than once, used once", image_id)
            example = self._read(image_id, problems)
            if example is not None:
                yield example

    def _read(self, image_id: str, problems: Problems) -> Example | None:
        xml_path = self._xml_path(image_id)
        picture = self._pictures.get(image_id)
        if picture is None:
            missing = self._folder / "JPEGImages" / f"{image_id}.jpg"
            problems.add(missing, "missing picture (with any suffix)")
            return None
        try:
            encoded = picture.read_bytes()
            height, width = images.decode(encoded).shape[:2]
        except (OSError, ValueError) as error:
            problems.add(picture, f"corrupt picture: {error}")
            return None
        try:
            root = ElementTree.parse(xml_path).getroot()
            annotated_size = _annotated_size(root) or (height, width)
            frame = examples.frame_of_annotations(
                annotated_size, (height, width), images.orientation(encoded)
            )
        except FileNotFoundError:
            problems.add(xml_path, "missing annotation")
            return None
        except (ElementTree.ParseError, ValueError) as error:
            problems.add(xml_path, error)
            return None

        objects = []
        for number, element in enumerate(root.findall("object"), start=1):
            name = (element.findtext("name") or "").strip()
            if self._drop_others and name not in self.class_names:
                continue
            try:
                objects.append(self._object(name, element, annotated_size))
            except ValueError as error:
                problems.add(xml_path, error, f"object {number} ({name})")
        return examples.make_example(
            image_id=image_id,
            filename=picture.name,
            image=encoded,
            upright_size=(height, width),
            annotated_size=annotated_size,
            frame=frame,
            objects=objects,
        )

    def _object(self, name: str, element: ElementTree.Element, size: tuple[int, int]) -> Object:
        if name not in self.class_names:
            raise ValueError(f"unknown class '{name}'; known are {', '.join(self.class_names)}")
        box = examples.continuous_box(_corners(element), size, first_pixel=1)
        return Object(
            box=box,
            label=self.class_names.index(name),
            area=float(np.prod(box[2:] - box[:2])),
            difficult=(element.findtext("difficult") or "0").strip() not in ("", "0"),
        )

    def _collect_class_names(self) -> tuple[str, ...]:
        names = set()
        for image_id in {image_id for ids in self._splits.values() for image_id in ids}:
            try:
                root = ElementTree.parse(self._xml_path(image_id)).getroot()
            except (OSError, ElementTree.ParseError):
                continue  # `examples` reports it
            names.update(
                (element.findtext("name") or "").strip() for element in root.iter("object")
            )
        names.discard("")
        if not names:
            raise ValueError(f"voc.VocFolder: no object with a name in {self._folder}/Annotations")
        return tuple(sorted(names))

    def _all_ids(self) -> list[str]:
        annotated = {path.stem for path in (self._folder / "Annotations").glob("*.xml")}
        return sorted(annotated | self._pictures.keys())

    def _xml_path(self, image_id: str) -> pathlib.Path:
        return self._folder / "Annotations" / f"{image_id}.xml"


def _find_folder(source: pathlib.Path) -> pathlib.Path:
    def is_voc(folder: pathlib.Path) -> bool:
        return (folder / "JPEGImages").is_dir() and (folder / "Annotations").is_dir()

    if is_voc(source):
        return source
    inside = sorted(filter(is_voc, source.iterdir())) if source.is_dir() else []
    if len(inside) != 1:
        found = ", ".join(folder.name for folder in inside) or "none"
        raise ValueError(
            f"voc.VocFolder: expected a folder with JPEGImages and Annotations, or one that holds "
            f"exactly one such folder (found: {found}), got {source}"
        )
    return inside[0]


def _read_splits(folder: pathlib.Path) -> dict[str, list[str]]:
    splits = {}
    for path in sorted((folder / "ImageSets" / "Main").glob("*.txt")):
        lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
        per_class = all(line.split()[1:] in (["1"], ["0"], ["-1"]) for line in lines)
        if lines and not per_class:
            splits[path.stem] = lines
    return splits


def _annotated_size(root: ElementTree.Element) -> tuple[int, int] | None:
    """The height and width in the annotation; None where it has none, or writes 0 for unknown."""
    size = root.find("size")
    if size is None:
        return None
    height, width = (int(_number(size, tag)) for tag in ("height", "width"))
    return (height, width) if height and width else None


def _corners(element: ElementTree.Element) -> tuple[float, float, float, float]:
    box = element.find("bndbox")
    if box is None:
        raise ValueError("no bndbox")
    return tuple(_number(box, tag) for tag in _CORNERS)


def _number(element: ElementTree.Element, tag: str) -> float:
    text = element.findtext(tag)
    try:
        return float(text)
    except (TypeError, ValueError):
        raise ValueError(f"expected a number in <{tag}>, got {text!r}") from None
