"""The pictures that a user names: found once each, with a name and an id of its own.

The id is what annotations of such pictures usually say: COCO's 000000000139.jpg is number 139, so a
name that is a whole number counts as that number. Where two pictures would share a number, and for
any other name, the id is the name: 7.jpg and 007.jpg are 7 and "007". The name is the file's
without its suffix; of files that share one (case aside, for there are disks that do not tell it) it
is the path below their common folder: a/x.jpg and b/x.jpg are a_x.jpg and b_x.jpg.
"""

import collections
import itertools
import logging
import os
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from ssd_jax.data import images, plain_files

log = logging.getLogger(__name__)

RESULTS = "detections.json"  # in a folder: its pictures are those that launch.predict drew
UNFINISHED_RESULTS = "detections.part.json"

_LONGEST_NAME = 200  # bytes; file systems take 255


class PictureFile(NamedTuple):
    """A picture to be read."""

    path: pathlib.Path
    name: str  # for what is written about it, without a suffix
    image_id: str


def find(inputs: Sequence[str]) -> list[PictureFile]:
    """Returns the pictures of files and of folders, searched to their depth, in order.

    A file is taken once, by the first of the paths that lead to it. Files in folders are known by
    their suffix; FIFOs and broken links called like a picture are among them, for the reader to
    complain about. A folder below with a detections.json is passed over with a warning.

    Raises:
        OSError: for a folder that cannot be read.
        ValueError: for an input that is not there or is no file or folder, or without any picture.
    """
    by_place: dict[str, pathlib.Path] = {}
    for one in inputs:
        path = pathlib.Path(one)
        try:
            kind = plain_files.file_kind(path)
        except (FileNotFoundError, NotADirectoryError):
            raise ValueError(f"no file or folder {one}") from None
        if kind not in ("a file", "a folder"):
            raise ValueError(f"expected a picture or a folder, but {one} is {kind}")
        for found in [path] if kind == "a file" else _below(path):
            by_place.setdefault(os.path.realpath(found), found)
    if not by_place:
        raise ValueError(f"no pictures in {', '.join(inputs) or 'nothing: name some'}")
    paths = list(by_place.values())
    names = _names(paths)
    ids = _image_ids([path.stem for path in paths], names)
    return [PictureFile(*one) for one in zip(paths, names, ids, strict=True)]


def _below(folder: pathlib.Path) -> list[pathlib.Path]:
    def stop(error: OSError) -> None:
        raise error

    found = []
    seen = set()
    for place, folders, files in os.walk(folder, onerror=stop, followlinks=True):
        inside = pathlib.Path(place)
        is_output = inside != folder and {RESULTS, UNFINISHED_RESULTS} & set(files)
        if is_output:
            log.warning("%s is passed over: with its detections.json it is an output", place)
        real = os.path.realpath(place)
        if is_output or real in seen:  # a link back up
            folders.clear()
            continue
        seen.add(real)
        paths = (inside / name for name in files if not plain_files.is_left_behind(name))
        found += filter(images.is_picture_name, paths)
    return sorted(found)


def _names(paths: Sequence[pathlib.Path]) -> list[str]:
    """Returns a name for each file, different from all others."""
    times = collections.Counter(path.stem.casefold() for path in paths)
    taken = {stem for stem, count in times.items() if count == 1}
    absolute = [pathlib.Path(os.path.abspath(path)) for path in paths]
    common = os.path.commonpath([path.parent for path in absolute])
    names = []
    for path in absolute:
        if times[path.stem.casefold()] == 1:
            names.append(path.stem)
            continue
        name = path.relative_to(common).as_posix().replace("/", "_")
        if len(os.fsencode(name)) > _LONGEST_NAME:
            name = path.stem
        numbered = itertools.chain([name], (f"{name}_{n}" for n in itertools.count(2)))
        name = next(x for x in numbered if x.casefold() not in taken)
        taken.add(name.casefold())
        names.append(name)
    return names


def _image_ids(stems: Sequence[str], names: Sequence[str]) -> list[str]:
    # Up to 18 digits fit into the 64 bits that other programs read an id into.
    is_id = re.compile("[0-9]{1,18}").fullmatch
    numbers = [str(int(stem)) if is_id(stem) else None for stem in stems]
    times = collections.Counter(numbers)
    return [
        number if number and times[number] == 1 else name
        for number, name in zip(numbers, names, strict=True)
    ]
