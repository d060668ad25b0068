"""Names of splits: which can be opened again, and which folders and files are splits by name.

`records.open_source` takes `NAME:SPLIT` in TFDS's syntax, in which `all` means every split and
`,`, `+`, `[`, `:`, dots and spaces have meanings of their own. A split of such a name could be
written and never opened, so it is refused before anything is written.
"""

import re
from collections.abc import Iterator, Mapping, Set
from itertools import combinations

_OPENS = re.compile(r"\w[\w-]*")
_CONVENTIONAL = re.compile(
    r"(train|training|trainval|val|valid|validation|dev|test|testing)[_-]?(\d{4})?", re.IGNORECASE
)


def check(name: str, where: str = "") -> None:
    """Raises a ValueError for the name of a split that `records.open_source` could not open."""
    if name == "all":
        raise ValueError(
            f"{where}a split cannot be called 'all', which means every split: rename it"
        )
    if not _OPENS.fullmatch(name):
        better = re.sub(r"[^\w-]+", "_", name).strip("_-")
        example = f", to {better!r} for example" if better and better != "all" else ""
        raise ValueError(
            f"{where}a split cannot be called {name!r}: rename it{example}; expected letters, "
            f"digits, - and _"
        )


def is_conventional(name: str) -> bool:
    """Returns whether it is a usual name of a split: train, val, valid, test, train2017, ..."""
    return _CONVENTIONAL.fullmatch(name) is not None


def shared(pictures: Mapping[str, Set]) -> Iterator[str]:
    """Yields which splits share pictures; trainval may, because it is made of others."""
    for (a, in_a), (b, in_b) in combinations(pictures.items(), 2):
        if in_a & in_b and "trainval" not in f"{a} {b}".lower():
            yield f"{a} and {b} share {len(in_a & in_b)} pictures"
