"""Reading files that strangers made: regular files of a bounded size, and text with its encoding.

A FIFO or a device would block or never end, so only regular files are opened. Links are followed:
they are the work of whoever keeps the folder. What operating systems leave behind (`._*`,
`__MACOSX`, hidden folders) is passed over.
"""

import codecs
import os
import pathlib
import re
import stat
from collections.abc import Iterator

MOST_BYTES = 1 << 30  # of a picture; more does not fit into a record

# UTF-32 first: its little-endian mark starts with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def file_kind(path: pathlib.Path) -> str:
    """Says what stands at a path, in words: "a file", "a folder", "a FIFO", "a device", ...

    Raises:
        FileNotFoundError: where nothing does.
    """
    kinds = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO"}
    kinds |= {stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(path.stat().st_mode), "a device")


def read(path: pathlib.Path, most: int = MOST_BYTES) -> bytes:
    """Reads a regular file.

    Raises:
        OSError: where it cannot be opened.
        ValueError: where it is no regular file or has more than `most` bytes; without the path.
    """
    if (kind := file_kind(path)) != "a file":
        raise ValueError(f"expected a regular file, got {kind}")
    if (size := path.stat().st_size) > most:
        raise ValueError(f"expected at most {most:,} bytes, got {size:,}")
    return path.read_bytes()


def marked_encoding(data: bytes) -> str | None:
    """Returns the encoding that a byte order mark declares, None where there is no mark."""
    return next((name for mark, name in _MARKS if data.startswith(mark)), None)


def read_lines(path: pathlib.Path) -> list[str]:
    """Reads the lines of a text in UTF-8, or in the encoding of its byte order mark.

    Raises:
        OSError: where it cannot be opened.
        ValueError: where it is not such a text, with its path.
    """
    try:
        data = read(path)
        text = data.decode(marked_encoding(data) or "utf-8")
    except ValueError as error:
        raise ValueError(f"{path}: {error}; save it as UTF-8 text") from None
    if "\0" in text:
        raise ValueError(f"{path}: expected text, got bytes of value 0; save it as UTF-8 text")
    return re.split(r"\r\n|\r|\n", text)


def listing(folder: pathlib.Path) -> list[pathlib.PurePath]:
    """Lists what is in a folder and below it, except folders, relative to it and sorted."""
    return sorted(_below(folder, pathlib.PurePath(), frozenset()))


def subfolders(folder: pathlib.Path) -> list[pathlib.Path]:
    """Lists the folders directly in a folder, sorted, without hidden ones."""
    return sorted(path for path in folder.iterdir() if _is_visible(path.name) and path.is_dir())


def files_ending(folder: pathlib.Path, suffix: str) -> list[pathlib.Path]:
    """Lists what ends in a suffix directly in a folder, sorted, without folders and hidden ones."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() == suffix and not path.name.startswith(".") and not path.is_dir()
    )


def is_left_behind(name: str) -> bool:
    """Returns whether macOS writes such files (`._a.jpg`) beside those that it copies."""
    return name.startswith("._")


def _below(
    folder: pathlib.Path, relative: pathlib.PurePath, above: frozenset[str]
) -> Iterator[pathlib.PurePath]:
    real = os.path.realpath(folder)
    if real in above:  # a link back up
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            path = relative / entry.name
            if entry.is_dir():
                if _is_visible(entry.name):
                    yield from _below(folder / entry.name, path, above | {real})
            elif not is_left_behind(entry.name):
                yield path


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"
