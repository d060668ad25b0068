"""Finding the files of COCO instances in a folder, and the pictures that they name.

Files are, the first kind that is there: `annotations/instances_SPLIT.json` or, without such,
`annotations/SPLIT.json`; the same in the source itself; `SPLIT/_annotations.coco.json` (Roboflow),
or the only JSON in a folder that is called train, valid, test or the like. The source may also be
such a file, or the folder it is in. A JSON without any of COCO's lists is left out with a note;
files of splits of two kinds are an error.

Pictures are looked for in SPLIT, images/SPLIT, images, beside the annotations and in the source. A
file_name with backslashes is read with slashes where there is no file of that very name. It stays
inside the source, also where it is absolute or climbs with `..`: what a file says must not pull in
a picture from elsewhere. Links in the source are followed, with a note.
"""

import ntpath
import os
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from ssd_jax.data import coco_file, plain_files, split_names
from ssd_jax.data.coco_file import CocoFile

_PREFIX = "instances_"
_ROBOFLOW = "_annotations.coco"


class Layout(NamedTuple):
    """What a source holds."""

    folder: pathlib.Path
    files: dict[str, CocoFile]  # by split
    picture_folders: dict[str, list[pathlib.Path]]  # by split, to be looked through in this order
    notes: list[str]


def find(source: pathlib.Path) -> Layout:
    """Looks through a source.

    Raises:
        OSError: where a file cannot be opened.
        ValueError: where there is no such file, one is not of the format, or it is not clear which
            are meant.
    """
    notes: list[str] = []
    if source.is_file():
        folder = source.parent
        files = {_split(source): CocoFile(source)}
    elif not source.is_dir():
        raise ValueError(f"coco.CocoFolder: expected a folder or a JSON file, got {source}")
    else:
        folder = source
        files = _find_files(source, notes)
    if folder.resolve().name.lower() == "annotations":
        folder = folder.resolve().parent
    picture_folders = {}
    for split, file in files.items():
        split_names.check(split, f"coco.CocoFolder: {file.path}: ")
        picture_folders[split] = _picture_folders(folder, split, file.path.parent)
        notes.append(
            f"{split}: {file.num_images} pictures and {file.num_annotations} annotations from "
            f"{file.path}"
        )
    return Layout(folder, files, picture_folders, notes)


def find_picture(layout: Layout, split: str, file_name: str) -> pathlib.Path | None:
    """Returns the picture of a file_name, None where there is none.

    Raises:
        ValueError: where it leads out of the source, or to two pictures that differ.
    """
    root = pathlib.Path(os.path.abspath(layout.folder))
    for name in dict.fromkeys((file_name, file_name.replace("\\", "/"))):
        leads_out = ntpath.splitdrive(name)[0] != ""
        found = []
        for folder in layout.picture_folders[split]:
            # Before the system sees it: `link/..` would be above what the link leads to.
            path = pathlib.Path(os.path.normpath(os.path.join(os.path.abspath(folder), name)))
            if not path.is_relative_to(root):
                leads_out = True
            elif path not in found and _is_there(path):
                found.append(path)
        if found:
            return _the_only(found)
    if leads_out:
        raise ValueError(
            f"expected a file_name inside {layout.folder}, got {file_name!r}; give the folder that "
            f"holds pictures and annotations as the source"
        )
    return None


def leads_elsewhere(layout: Layout, picture: pathlib.Path) -> bool:
    """Returns whether links lead from the source to a picture elsewhere."""
    return not pathlib.Path(os.path.realpath(picture)).is_relative_to(
        os.path.realpath(layout.folder)
    )


def _find_files(source: pathlib.Path, notes: list[str]) -> dict[str, CocoFile]:
    in_annotations = [
        path
        for folder in plain_files.subfolders(source)
        if folder.name.lower() == "annotations"
        for path in plain_files.files_ending(folder, ".json")
    ]
    in_source = plain_files.files_ending(source, ".json")
    groups = (in_annotations, in_source, list(_in_split_folders(source)))
    for number, paths in enumerate(groups):
        if number == 2:
            files = {path.parent.name: CocoFile(path) for path in paths}
        else:
            files = {_split(file.path): file for file in _instances(paths, notes)}
        if not files:
            continue
        others = [path for group in groups[number + 1 :] for path in group if _is_split(path)]
        if others:
            raise ValueError(
                f"coco.CocoFolder: splits stand in {next(iter(files.values())).path} and "
                f"in {others[0]}; move those of one kind away"
            )
        return files
    raise ValueError(
        f"coco.CocoFolder: expected annotations/instances_*.json, *.json or "
        f"*/_annotations.coco.json in {source}, got none"
    )


def _instances(paths: list[pathlib.Path], notes: list[str]) -> Iterator[CocoFile]:
    named = [path for path in paths if path.name.lower().startswith(_PREFIX)]
    for path in paths:
        if path in named:
            yield CocoFile(path)
        elif named:
            if _is_split(path):
                raise ValueError(
                    f"coco.CocoFolder: splits stand in {named[0]} and in {path}; call both "
                    f"instances_SPLIT.json, or move one away"
                )
            notes.append(f"left out: {path}, which is not called instances_SPLIT.json")
        else:
            content = coco_file.load(path)
            is_coco = isinstance(content, dict) and any(key in content for key in coco_file.KEYS)
            if is_coco or _is_split(path) or len(paths) == 1:
                yield CocoFile(path, content)
            else:
                notes.append(f"left out: {path}, which holds none of COCO's lists")


def _in_split_folders(source: pathlib.Path) -> Iterator[pathlib.Path]:
    for folder in plain_files.subfolders(source):
        paths = plain_files.files_ending(folder, ".json")
        roboflow = [path for path in paths if path.stem.lower() == _ROBOFLOW]
        if roboflow:
            yield roboflow[0]
        elif split_names.is_conventional(folder.name) and len(paths) == 1:
            yield paths[0]


def _split(path: pathlib.Path) -> str:
    if path.stem.lower() == _ROBOFLOW:
        name = path.resolve().parent.name
        return name if split_names.is_conventional(name) else "train"
    name = path.name.removesuffix(".gz").removesuffix(".json").removesuffix(".JSON")
    return name[len(_PREFIX) :] if name.lower().startswith(_PREFIX) else name


def _is_split(path: pathlib.Path) -> bool:
    stem = path.stem.lower()
    return stem.startswith(_PREFIX) or stem == _ROBOFLOW or split_names.is_conventional(stem)


def _picture_folders(
    folder: pathlib.Path, split: str, annotations: pathlib.Path
) -> list[pathlib.Path]:
    pictures = [path for path in plain_files.subfolders(folder) if path.name.lower() == "images"]
    in_pictures = [path / split for path in pictures]
    return [folder / split, *in_pictures, *pictures, annotations, folder]


def _is_there(path: pathlib.Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):  # a name too long, or with a 0 byte
        return False


def _the_only(found: list[pathlib.Path]) -> pathlib.Path:
    for other in found[1:]:
        if not found[0].samefile(other) and plain_files.read(found[0]) != plain_files.read(other):
            raise ValueError(f"{found[0]} and {other} are two pictures; move one away")
    return found[0]
