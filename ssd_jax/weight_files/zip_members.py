"""A zip archive as numpy and PyTorch write them, whose members cost no more than they should."""

import contextlib
import mmap
import pathlib
import re
import zipfile
from collections.abc import Iterator

from ssd_jax.weight_files.budget import Budget

# zipfile's object for it, and what finding and checking it takes.
_STEPS_OF_A_MEMBER = 40


class Members:
    """The members of a zip archive, each read whole, once its cost is accounted for."""

    def __init__(self, archive: zipfile.ZipFile, budget: Budget, methods: tuple[int, ...]) -> None:
        self._archive, self._budget = archive, budget
        self._members: dict[str, zipfile.ZipInfo] = {}
        total = 0
        for member in archive.infolist():
            name, method = member.filename, member.compress_type
            if name in self._members:
                raise ValueError(f"its zip archive has two members called {name}")
            if member.flag_bits & 1:
                raise ValueError(f"{name} is encrypted; save it again without a password")
            if method not in methods:
                raise ValueError(
                    f"{name} is compressed by zip's method {method}; save it again uncompressed"
                )
            if method == zipfile.ZIP_STORED and member.file_size != member.compress_size:
                raise ValueError(f"{name} is not compressed, but has two sizes")
            total += member.compress_size
            self._members[name] = member
        if total > budget.size:
            raise ValueError("members of its zip archive lie on each other")

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def read(self, name: str) -> bytes:
        """Returns a member's content, once its checksum is right."""
        size = self._members[name].file_size
        self._budget.take(size, name)
        with self._archive.open(self._members[name]) as file:
            # Never all there is: a member can unpack to more than it says.
            content = file.read(size)
        if len(content) != size:
            raise ValueError(f"{name} is cut short: it has {len(content):,} of {size:,} bytes")
        return content


@contextlib.contextmanager
def open_zip(path: pathlib.Path, budget: Budget, *, methods: tuple[int, ...]) -> Iterator[Members]:
    """Opens a zip archive whose members are compressed by some of `methods`.

    Raises:
        ValueError: where it is none, or its members are encrypted, compressed in another way,
            called the same, or more than a file of weights has.
    """
    # zipfile makes an object for each entry as it opens an archive, whose own count can lie.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content[:4] == b"PK\3\4" and not zipfile.is_zipfile(file):
            raise ValueError(
                "it is cut short: it begins as a zip archive and lacks the end; download or copy "
                "it again"
            )
        for _ in re.finditer(rb"PK\x01\x02", content):
            budget.step(_STEPS_OF_A_MEMBER)
    with zipfile.ZipFile(path) as archive:
        yield Members(archive, budget, methods)
