"""Finding the pictures, the annotations and the splits of a folder in VOC's format.

Pictures and annotations are found, in upper or lower case,

- in JPEGImages and Annotations (VOC), or images and annotations, annots, labels or xmls (Kaggle);
- side by side in one folder (labelImg, Roboflow), or one kind there and one in such a folder.

Such a folder is the source itself, or the only one in it (a VOCdevkit). Where every folder in the
source is one and is called train, valid, test or the like, each is a split. Folders of other names
with pictures and annotations side by side are one split together.

A picture belongs to the annotation of the same path without suffix. What is left without a partner
is paired where exactly one picture and one annotation have the same path but for upper and lower
case, or the same name in different folders.

Splits are lists (`voc_lists`), or folders called so; a source without either is one split, `train`.
"""

import pathlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from ssd_jax.data import images, plain_files, split_names, voc_lists
from ssd_jax.data.examples import Problems
from ssd_jax.data.voc_lists import Item, Split

_PICTURES = ("jpegimages", "images", "image", "imgs", "img")
_ANNOTATIONS = ("annotations", "annotation", "annots", "labels", "label", "xmls", "xml")
# VOC's own names are meant where both are there.
_FOLDERS = ((_PICTURES[:1], _ANNOTATIONS[:1]), (_PICTURES, _ANNOTATIONS))


class Layout(NamedTuple):
    """What a source holds."""

    annotations: pathlib.Path  # the folder to speak of
    splits: dict[str, Split]
    notes: list[str]


class _Part(NamedTuple):
    folder: pathlib.Path
    pictures: pathlib.Path
    annotations: pathlib.Path

    @property
    def is_flat(self) -> bool:
        return self.pictures == self.annotations

    def describe(self) -> str:
        if self.is_flat:
            return f"pictures and XML side by side in {self.folder}"
        return f"{self.pictures.name} and {self.annotations.name} in {self.folder}"


def find(source: pathlib.Path) -> Layout:
    """Looks through a source.

    Raises:
        ValueError: where it is not in VOC's format, or can be read in more than one way.
    """
    if source.is_dir() and (part := _part(source)):
        return _one_part(part)
    inside = plain_files.subfolders(source) if source.is_dir() else []
    parts = [part for path in inside if (part := _part(path))]
    named = [part for part in parts if split_names.is_conventional(part.folder.name)]
    if named and len(named) < len(parts):
        others = ", ".join(part.folder.name for part in parts if part not in named)
        raise ValueError(
            f"voc.VocFolder: {source} holds splits ({_names(named)}) and folders that are none "
            f"({others}); rename those, or move them away"
        )
    if named:
        return _a_folder_a_split(source, named)
    if len(parts) > 1 and all(part.is_flat for part in parts):
        return _one_part(_Part(source, source, source))
    if len(parts) == 1:
        return _one_part(parts[0])
    raise ValueError(
        f"voc.VocFolder: expected a folder with JPEGImages and Annotations, or one that holds "
        f"exactly one such folder (found: {_names(parts) or 'none'}), or a folder train, valid, "
        f"... for every split, got {source}"
    )


def _part(folder: pathlib.Path) -> _Part | None:
    subfolders = plain_files.subfolders(folder)
    for picture_names, annotation_names in _FOLDERS:
        pictures = [path for path in subfolders if path.name.lower() in picture_names]
        annotations = [path for path in subfolders if path.name.lower() in annotation_names]
        if pictures and annotations:
            for found in (pictures, annotations):
                if len(found) > 1:
                    names = ", ".join(path.name for path in found)
                    raise ValueError(
                        f"voc.VocFolder: expected one folder of pictures and one of annotations "
                        f"in {folder}, got {names}; move one away"
                    )
            return _Part(folder, pictures[0], annotations[0])
    inside = [path for path in folder.iterdir() if not plain_files.is_left_behind(path.name)]
    has_pictures = any(map(images.is_picture_name, inside))
    has_annotations = any(map(_is_annotation_name, inside))
    if has_pictures and has_annotations:
        return _Part(folder, folder, folder)
    if len(pictures) == 1 and has_annotations:
        return _Part(folder, pictures[0], folder)
    if len(annotations) == 1 and has_pictures:
        return _Part(folder, folder, annotations[0])
    return None


def _one_part(part: _Part) -> Layout:
    notes = [f"read as {part.describe()}"]
    items = _items(part, notes)
    splits = voc_lists.find(part.folder, items, part.pictures, part.annotations, notes)
    if not splits:
        found = _splits_without_lists(part, items, notes)
        splits = {name: Split(split, part.annotations, Problems()) for name, split in found.items()}
    return Layout(part.annotations, splits, notes)


def _splits_without_lists(
    part: _Part, items: Mapping[str, Item], notes: list[str]
) -> dict[str, list[Item]]:
    """Takes folders that are called so as splits, and a source without any as one split."""
    by_folder = defaultdict(list)
    for image_id, item in items.items():
        by_folder[image_id.rpartition("/")[0].partition("/")[0]].append(item)
    named = [name for name in by_folder if split_names.is_conventional(name)]
    if named and len(named) == len(by_folder):
        notes.append(f"the folders {', '.join(named)} are splits")
        return dict(by_folder)
    if named:
        others = ", ".join(name or str(part.pictures) for name in by_folder if name not in named)
        raise ValueError(
            f"voc.VocFolder: {part.pictures} holds splits ({', '.join(named)}) and pictures "
            f"outside of them ({others}); move those into a split, or write lists into ImageSets/"
            f"Main"
        )
    name = part.folder.name
    split = name if part.is_flat and split_names.is_conventional(name) else "train"
    notes.append(f"no lists of splits: all {len(items)} pictures are {split}")
    return {split: list(items.values())}


def _a_folder_a_split(source: pathlib.Path, parts: Iterable[_Part]) -> Layout:
    notes, splits = [], {}
    for part in parts:
        notes.append(f"{part.folder.name} is a split: {part.describe()}")
        items = list(_items(part, notes).values())
        splits[part.folder.name] = Split(items, part.folder, Problems())
    return Layout(source, splits, notes)


def _items(part: _Part, notes: list[str]) -> dict[str, Item]:
    """Pairs the pictures of a folder with its annotations, by id and in the order of ids."""
    pictures = _by_id(part.pictures, images.is_picture_name)
    annotations = _by_id(part.annotations, _is_annotation_name)
    beside = () if part.is_flat else part.annotations.iterdir()
    ignored = [p.name for p in beside if p.is_file() and not _is_annotation_name(p)]
    if ignored := [name for name in ignored if not name.startswith(".")]:
        notes.append(
            f"left out: {len(ignored)} files in {part.annotations} that are not XML, such as "
            f"{min(ignored)}"
        )
    partners: dict[str, str] = {}  # annotation by picture
    for key in (str.casefold, lambda image_id: image_id.casefold().rpartition("/")[2]):
        partners |= _partners(
            pictures.keys() - annotations.keys() - partners.keys(),
            annotations.keys() - pictures.keys() - set(partners.values()),
            key,
        )
    if partners:
        picture, annotation = min(partners.items())
        notes.append(
            f"{len(partners)} annotations are paired with pictures whose path differs, such as "
            f"{annotation}.xml with {picture}"
        )
    ids = pictures.keys() | (annotations.keys() - set(partners.values()))
    return {
        image_id: Item(
            image_id,
            tuple(pictures.get(image_id, ())),
            tuple(annotations.get(partners.get(image_id, image_id), ())),
            part.pictures / f"{image_id}.jpg",
            part.annotations / f"{image_id}.xml",
        )
        for image_id in sorted(ids)
    }


def _partners(
    pictures: Iterable[str], annotations: Iterable[str], key: Callable[[str], str]
) -> dict[str, str]:
    sides = defaultdict(lambda: ([], []))
    for side, ids in enumerate((pictures, annotations)):
        for image_id in ids:
            sides[key(image_id)][side].append(image_id)
    return {p[0]: a[0] for p, a in sides.values() if len(p) == len(a) == 1}


def _by_id(
    folder: pathlib.Path, is_wanted: Callable[[pathlib.PurePath], bool]
) -> dict[str, list[pathlib.Path]]:
    found = defaultdict(list)
    for path in plain_files.listing(folder):
        if is_wanted(path):
            found[path.with_suffix("").as_posix()].append(folder / path)
    return dict(found)


def _is_annotation_name(path: pathlib.PurePath) -> bool:
    return path.suffix.lower() == ".xml"


def _names(parts: Iterable[_Part]) -> str:
    return ", ".join(part.folder.name for part in parts)
