"""Names of classes: one line of text, without the spaces around it.

No class is called `background`, which is label 0 of every detector.
"""

import unicodedata
from collections.abc import Sequence

# Unicode's control characters, half characters (surrogates), line and paragraph separators.
_NOT_IN_A_LINE = ("Cc", "Cs", "Zl", "Zp")

BACKGROUND = ("background", "__background__")


def printable(text: str) -> str:
    """Returns the text in a line, with what no line can hold written as an escape."""
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in _NOT_IN_A_LINE else c
        for c in text
    )


def checked(text: str) -> str:
    """Returns the name of a class, without the spaces around it.

    Raises:
        ValueError: where it is empty, more than a line, or `background`; without a place.
    """
    name = text.strip()
    if not name:
        raise ValueError(f"expected the name of a class, got {text!r}")
    if printable(name) != name:
        raise ValueError(f"expected the name of a class in one line of text, got {name!r}")
    if name.lower() in BACKGROUND:
        raise ValueError(
            f"a class cannot be called {name!r}, which is label 0 of every detector: rename it, "
            f"or leave its objects out"
        )
    return name


def check_chosen(class_names: Sequence[str]) -> None:
    """Raises a ValueError for chosen classes of which one is not a name or comes twice."""
    for name in class_names:
        if checked(name) != name:
            raise ValueError(f"expected class names without spaces around them, got {name!r}")
    if len(set(class_names)) < len(class_names):
        raise ValueError(f"expected every class once, got {', '.join(class_names)}")


def check_known(chosen: Sequence[str], known: Sequence[str], where: str) -> None:
    """Raises a ValueError for chosen classes that a data set does not have."""
    if unknown := [name for name in chosen if name not in known]:
        raise ValueError(
            f"{where}: expected classes among {', '.join(known)}, got {', '.join(unknown)}"
        )
