"""Reading annotated pictures in PASCAL VOC's format.

`voc_layout` finds pictures, annotations and splits, `voc_lists` reads the lists of splits, and
`voc_annotation` reads the XML of a picture; each says by which rules. Any picture format may stand
beside the annotations. Corners are inclusive, count from 1, and need not be whole numbers. Every
object counts: a name that is not a class, or a box that is none, is an error with its place.
"""

import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from ssd_jax.data import examples, split_names, voc_annotation, voc_layout
from ssd_jax.data.class_names import check_chosen, check_known, checked
from ssd_jax.data.examples import Example, Object, Problems
from ssd_jax.data.voc_annotation import AnnotatedObject, Annotation
from ssd_jax.data.voc_lists import Item

# Development kit, section 2.2; in this order in every published table.
CLASS_NAMES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip


class VocFolder:
    """The annotated pictures of one VOC folder.

    Args:
        source: a folder as `voc_layout` describes it.
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
        check_chosen(class_names)
        self._drop_others = drop_others
        layout = voc_layout.find(pathlib.Path(source))
        self._splits = layout.splits
        self.split_sizes = {
            name: len(split.items) + len(split.problems) for name, split in self._splits.items()
        }
        pictures = {
            name: {path for item in split.items for path in item.pictures}
            for name, split in layout.splits.items()
        }
        self.notes = [*layout.notes, *split_names.shared(pictures)]
        self._annotations = self._read_annotations()
        found = self._collect_class_names()
        if not found:
            raise ValueError(self._why_no_objects(layout.annotations))
        self.class_names = tuple(class_names) or found
        if drop_others:  # or a misspelt class would be dropped itself
            check_known(self.class_names, found, "voc.VocFolder")
        self.category_ids = tuple(range(1, len(self.class_names) + 1))

    def examples(self, split: str, problems: Problems) -> Iterator[Example]:
        """Yields what can be used of a split, in its order, and adds the rest to `problems`."""
        items, place, of_lists = self._splits[split]
        for problem in of_lists:
            problems.add(problem.file, problem.reason, problem.where)
        seen = set()
        for item in items:
            if item.image_id in seen:
                problems.add(place, "listed more than once, used once", item.image_id)
                continue
            seen.add(item.image_id)
            example = self._read(item, problems)
            if example is not None:
                yield example

    def _read(self, item: Item, problems: Problems) -> Example | None:
        if not item.pictures:
            problems.add(item.expected_picture, "missing picture (with any suffix)")
            return None
        if len(item.pictures) > 1:
            names = " and ".join(path.name for path in item.pictures)
            problems.add(item.expected_annotation, f"{names} are its pictures: move one away")
            return None
        (picture,) = item.pictures
        xml_path = item.annotations[0] if item.annotations else item.expected_annotation
        with problems.noted(picture):
            filename = item.image_id + picture.suffix
            image, upright_size, orientation = examples.read_picture(picture, filename)
            with problems.noted(xml_path):
                annotation = self._annotations[item.annotations]
                if isinstance(annotation, Exception):
                    raise annotation
                size = annotation.size or upright_size
                turn = examples.turn_of_annotations(size, upright_size, orientation)
                return examples.make_example(
                    image_id=item.image_id,
                    filename=filename,
                    image=image,
                    upright_size=upright_size,
                    annotated_size=size,
                    turn=turn,
                    objects=self._objects(xml_path, annotation, size, problems),
                )
        return None

    def _objects(
        self,
        xml_path: pathlib.Path,
        annotation: Annotation,
        size: tuple[int, int],
        problems: Problems,
    ) -> list[Object]:
        objects = []
        for number, found in enumerate(annotation.objects, start=1):
            if self._drop_others and found.name and found.name not in self.class_names:
                continue
            with problems.noted(xml_path, f"object {number} ({found.name})"):
                objects.append(self._object(found, size))
        return objects

    def _object(self, found: AnnotatedObject, size: tuple[int, int]) -> Object:
        if found.defect:
            raise ValueError(found.defect)
        if found.name not in self.class_names:
            raise ValueError(
                f"unknown class '{found.name}'; known are {', '.join(self.class_names)}"
            )
        box = examples.continuous_box(found.corners, size, first_pixel=1)
        return Object(
            box=box,
            label=self.class_names.index(found.name),
            area=float(np.prod(box[2:] - box[:2])),
            difficult=found.difficult,
        )

    def _read_annotations(self) -> dict[tuple[pathlib.Path, ...], Annotation | Exception]:
        """Returns every annotation, or why it cannot be read, by its paths."""
        paths = (item.annotations for split in self._splits.values() for item in split.items)
        return {one: _read_annotation(one) for one in dict.fromkeys(paths)}

    def _collect_class_names(self) -> tuple[str, ...]:
        readable = (a for a in self._annotations.values() if not isinstance(a, Exception))
        names = {found.name for annotation in readable for found in annotation.objects}
        return tuple(sorted(filter(_is_class, names)))

    def _why_no_objects(self, folder: pathlib.Path) -> str:
        found = self._annotations.items()
        defects = {paths[0]: x for paths, x in found if paths and isinstance(x, Exception)}
        message = f"voc.VocFolder: no object with a name in {folder}"
        if not any(self._annotations):
            message += ", which holds no XML of a picture"
        if defects:
            path, reason = next(iter(defects.items()))
            message += f"; {len(defects)} files cannot be read, the first is {path}: {reason}"
        return message


def _read_annotation(paths: tuple[pathlib.Path, ...]) -> Annotation | Exception:
    if not paths:
        return ValueError("missing annotation")
    if len(paths) > 1:
        names = " and ".join(path.name for path in paths)
        return ValueError(f"{names} are annotations of one picture: move one away")
    try:
        return voc_annotation.read(paths[0])
    except (OSError, ValueError) as error:
        return error


def _is_class(name: str) -> bool:
    try:
        return checked(name) == name
    except ValueError:
        return False
