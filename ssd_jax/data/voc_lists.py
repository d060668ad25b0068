"""Reading VOC's lists of splits: text files with a picture a line.

They stand in ImageSets/Main, in ImageSets, or beside the pictures' folder where they are called
train.txt, val.txt, test.txt or the like. A line is the name of a picture, with or without its
suffix, or a path, and may stand in quotes (CVAT). Paths of another machine are read without their
part before the picture's folder, if that is the same in the whole list. A name that ends in " 1" is
a name first, and a name with a second column only if no picture is called so.

A list of lines `NAME 1`, `NAME 0` and `NAME -1` that is called CLASS_SPLIT.txt beside a SPLIT.txt
is one of VOC's lists of a class, and not a split. Under any other name it is an error, and so is an
empty list: a split would grow or vanish in silence.
"""

import pathlib
import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from ssd_jax.data import images, plain_files, split_names
from ssd_jax.data.examples import Problems

_SECOND_COLUMN = re.compile(r"(.*\S)\s+(-1|0|1)")


class Item(NamedTuple):
    """A picture and its annotation; more or less than one of each is for the reader to refuse."""

    image_id: str  # the picture's path without suffix
    pictures: tuple[pathlib.Path, ...]
    annotations: tuple[pathlib.Path, ...]
    expected_picture: pathlib.Path  # to speak of where there is none
    expected_annotation: pathlib.Path


class Split(NamedTuple):
    """The items of a split in their order."""

    items: list[Item]
    place: pathlib.Path  # its list or its folder
    problems: Problems  # the lines that name nothing


class _Line(NamedTuple):
    number: int
    text: str
    item: Item | None
    prefix: tuple[str, ...] = ()  # the folders before the item's own path


def find(
    folder: pathlib.Path,
    items: Mapping[str, Item],
    pictures: pathlib.Path,
    annotations: pathlib.Path,
    notes: list[str],
) -> dict[str, Split]:
    """Returns the splits that lists name, {} without lists.

    Args:
        folder: the folder that holds ImageSets.
        items: all that can be listed, by id.
        pictures: the folder of their pictures.
        annotations: the folder of their annotations.
        notes: what is recognised or left out is added here.

    Raises:
        ValueError: where a list is empty, is not one, or cannot be a split.
    """
    paths = _find_files(folder, notes)
    names = _Names(items, pictures, annotations)
    lists = {path: names.read(path) for path in paths}
    of_class = [path for path, lines in lists.items() if all(_is_flagged(line) for line in lines)]
    plain = [path.stem for path in paths if path not in of_class]
    splits = {}
    for path in paths:
        if path in of_class and any(path.stem.endswith(f"_{split}") for split in plain):
            continue
        _check(path, lists[path])
        splits[path.stem] = _resolve(path, lists[path], pictures, notes)
    if paths:
        found = ", ".join(f"{name} ({len(split.items)})" for name, split in splits.items())
        notes.append(f"splits from {paths[0].parent}: {found}")
        if left := len(paths) - len(splits):
            notes.append(f"left out: {left} lists of a single class, such as {of_class[0].name}")
        listed = {item.image_id for split in splits.values() for item in split.items}
        if left := sorted(items.keys() - listed):
            notes.append(f"left out: {len(left)} pictures in no list, such as {left[0]}")
    return splits


class _Names:
    """Finds the item that a line of a list means."""

    def __init__(
        self, items: Mapping[str, Item], pictures: pathlib.Path, annotations: pathlib.Path
    ):
        self._items = dict(items)
        for item in items.values():
            for path in item.pictures:
                chosen = item._replace(pictures=(path,))  # a.jpg means a.jpg, not a.png
                self._items.setdefault(path.relative_to(pictures).as_posix(), chosen)
            for path in item.annotations:
                self._items.setdefault(path.relative_to(annotations).as_posix(), item)
        times = Counter(map(str.casefold, self._items))
        folded = ((name.casefold(), item) for name, item in self._items.items())
        self._folded = {name: item for name, item in folded if times[name] == 1}

    def read(self, path: pathlib.Path) -> list[_Line]:
        lines = enumerate(map(str.strip, plain_files.read_lines(path)), start=1)
        return [self._find(number, text) for number, text in lines if text]

    def _find(self, number: int, text: str) -> _Line:
        unquoted = text[1:-1] if len(text) > 2 and text[0] == text[-1] == '"' else text
        if item := self._one(text) or self._one(unquoted):
            return _Line(number, text, item)
        folders = unquoted.replace("\\", "/").split("/")
        for k in range(len(folders)):
            if item := self._one("/".join(folders[k:])):
                prefix = tuple(name for name in folders[:k] if name not in (".", ""))
                return _Line(number, text, item, prefix)
        return _Line(number, text, None)

    def _one(self, name: str) -> Item | None:
        return self._items.get(name) or self._folded.get(name.casefold())


def _find_files(folder: pathlib.Path, notes: list[str]) -> list[pathlib.Path]:
    beside = plain_files.files_ending(folder, ".txt")
    beside = [path for path in beside if split_names.is_conventional(path.stem)]
    image_sets = _folder_called("imagesets", folder)
    if image_sets is None:
        return beside
    main = _folder_called("main", image_sets)
    in_main = plain_files.files_ending(main, ".txt") if main else []
    in_image_sets = plain_files.files_ending(image_sets, ".txt")
    if in_main and in_image_sets:
        raise ValueError(
            f"voc.VocFolder: lists of splits stand in {main} and in {image_sets}; move those of "
            f"one of the two away"
        )
    if found := in_main or in_image_sets:
        if beside:
            notes.append(f"left out: {', '.join(path.name for path in beside)} in {folder}")
        return found
    if others := [path for path in plain_files.listing(image_sets) if path.name[0] != "."]:
        raise ValueError(
            f"voc.VocFolder: expected lists of splits (train.txt, val.txt, ...) in "
            f"{main or image_sets / 'Main'}, got only {others[0]} in {image_sets}"
        )
    return beside


def _folder_called(name: str, folder: pathlib.Path) -> pathlib.Path | None:
    found = [path for path in plain_files.subfolders(folder) if path.name.lower() == name]
    if len(found) > 1:
        raise ValueError(
            f"voc.VocFolder: {folder} holds {found[0].name} and {found[1].name}; move one away"
        )
    return found[0] if found else None


def _is_flagged(line: _Line) -> bool:
    return line.item is None and _SECOND_COLUMN.fullmatch(line.text) is not None


def _check(path: pathlib.Path, lines: list[_Line]) -> None:
    split_names.check(path.stem, f"voc.VocFolder: {path}: ")
    if not lines:
        raise ValueError(
            f"voc.VocFolder: {path} lists no picture; fill it, or move it away for no split "
            f"{path.stem}"
        )
    if all(line.item is None for line in lines):
        raise ValueError(f"voc.VocFolder: {path}, line {lines[0].number}: {_reason(lines[0])}")


def _resolve(
    path: pathlib.Path, lines: list[_Line], pictures: pathlib.Path, notes: list[str]
) -> Split:
    here = tuple(name.casefold() for name in pictures.resolve().parts)
    foreign = Counter(
        line.prefix
        for line in lines
        if line.prefix and here[-len(line.prefix) :] != tuple(map(str.casefold, line.prefix))
    )
    if len(foreign) == 1:
        (prefix,) = foreign
        notes.append(f"{path}: paths are read without {'/'.join(prefix)}")
    found, problems = [], Problems()
    for line in lines:
        if line.item is None:
            problems.add(path, _reason(line), f"line {line.number}")
        elif len(foreign) > 1 and line.prefix in foreign:
            reason = f"{line.text!r} names a picture in a folder that is not here"
            problems.add(path, reason, f"line {line.number}")
        else:
            found.append(line.item)
    if not found:
        raise ValueError(
            f"voc.VocFolder: {path}: none of its paths leads to a picture in {pictures}, such as "
            f"{lines[0].text!r}"
        )
    return Split(found, path, problems)


def _reason(line: _Line) -> str:
    if _is_flagged(line):
        return (
            f"{line.text!r} has a second column, which a split has not: remove it, or call a list "
            f"of one class CLASS_SPLIT.txt"
        )
    suffix = pathlib.PurePath(line.text)
    hint = " (with that suffix)" if images.is_picture_name(suffix) else ""
    return f"{line.text!r} names no picture{hint} and no annotation"
