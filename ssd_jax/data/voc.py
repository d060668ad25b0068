"""Reading annotated pictures in PASCAL VOC's format.

`voc_layout` finds pictures, annotations and splits, `voc_lists` reads the lists of splits, and
`voc_annotation` reads the XML of a picture; each says by which rules. Any picture format may stand
beside the annotations. Corners are inclusive, count from 1, and need not be whole numbers. Every
object counts: a name that is not a class, or a box that is none, is an error with its place.
"""

import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from ssd_jax.data import examples, images, plain_files, split_names, voc_annotation, voc_layout
from ssd_jax.data.class_names import check_chosen, checked
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
        missing = [name for name in self.class_names if name not in found]
        if drop_others and missing:  # or a misspelt class would be dropped itself
            raise ValueError(
                f"voc.VocFolder: expected classes among {', '.join(found)}, "
                f"got {', '.join(missing)}"
            )
        self.category_ids = tuple(range(1, len(self.class_names) + 1))

    def examples(self, split: str, problems: Problems) -> Iterator[Example]:
        """Yields what can be used of a split, in its order, and adds the rest to `problems`."""
        for problem in self._splits[split].problems:
            problems.add(problem.file, problem.reason, problem.where)
        seen = set()
        for item in self._splits[split].items:
            if item.image_id in seen:
                place = self._splits[split].place
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
        try:
            encoded = plain_files.read(picture)
            height, width = images.decode(encoded).shape[:2]
            orientation = images.orientation(encoded)
            filename = item.image_id + picture.suffix
            filename.encode()  # what is no Unicode cannot be written
        except (OSError, ValueError) as error:
            problems.add(picture, f"corrupt picture: {error}")
            return None
        xml_path = item.annotations[0] if item.annotations else item.expected_annotation
        annotation = self._annotations[item.annotations]
        try:
            if isinstance(annotation, Exception):
                raise annotation
            annotated_size = annotation.size or (height, width)
            frame = examples.frame_of_annotations(annotated_size, (height, width), orientation)
        except (OSError, ValueError) as error:
            problems.add(xml_path, error)
            return None

        objects = []
        for number, found in enumerate(annotation.objects, start=1):
            if self._drop_others and found.name and found.name not in self.class_names:
                continue
            try:
                objects.append(self._object(found, annotated_size))
            except ValueError as error:
                problems.add(xml_path, error, f"object {number} ({found.name})")
        return examples.make_example(
            image_id=item.image_id,
            filename=filename,
            image=encoded,
            upright_size=(height, width),
            annotated_size=annotated_size,
            frame=frame,
            objects=objects,
        )

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
        """Reads every annotation once, or why it cannot be read, by its paths."""
        found: dict[tuple[pathlib.Path, ...], Annotation | Exception] = {}
        for item in (item for split in self._splits.values() for item in split.items):
            if item.annotations not in found:
                try:
                    found[item.annotations] = _read_annotation(item.annotations)
                except (OSError, ValueError) as error:
                    found[item.annotations] = error
        return found

    def _collect_class_names(self) -> tuple[str, ...]:
        readable = (a for a in self._annotations.values() if not isinstance(a, Exception))
        found = (item for annotation in readable for item in annotation.objects)
        return tuple(sorted({item.name for item in found if _is_class(item.name)}))

    def _why_no_objects(self, folder: pathlib.Path) -> str:
        defects = {
            paths[0]: found
            for paths, found in self._annotations.items()
            if paths and isinstance(found, Exception)
        }
        message = f"voc.VocFolder: no object with a name in {folder}"
        if not any(self._annotations):
            message += ", which holds no XML of a picture"
        if defects:
            path, reason = next(iter(defects.items()))
            message += f"; {len(defects)} files cannot be read, the first is {path}: {reason}"
        return message


def _read_annotation(paths: tuple[pathlib.Path, ...]) -> Annotation:
    if not paths:
        raise ValueError("missing annotation")
    if len(paths) > 1:
        names = " and ".join(path.name for path in paths)
        raise ValueError(f"{names} are annotations of one picture: move one away")
    return voc_annotation.read(paths[0])


def _is_class(name: str) -> bool:
    try:
        return checked(name) == name
    except ValueError:
        return False
