"""Reading the categories of files of COCO instances, which become the classes.

A category has a whole number from 0 as its id and a name; every id and every name comes once, and
files that are read together have the same. A category without any object is a class, except two
that exporters add: Roboflow's project (its supercategory is "none", and it is the supercategory of
all others) and a background.
"""

import pathlib
from collections.abc import Mapping, Sequence, Set
from typing import Any, NamedTuple

from ssd_jax.data import json_fields
from ssd_jax.data.class_names import BACKGROUND, checked


class Category(NamedTuple):
    """A class as the file has it."""

    id: int
    name: str
    supercategory: Any = None


def read(path: pathlib.Path, items: Sequence[Any]) -> tuple[Category, ...]:
    """Returns the categories of a file, by rising id.

    Raises:
        ValueError: where one of them is none or comes twice, with its place.
    """
    found: dict[int, Category] = {}
    names: dict[str, int] = {}
    for place, item in enumerate(items, start=1):
        where = f"category number {place}"
        try:
            fields = json_fields.mapping(item)
            number = json_fields.whole_number(fields, "id")
            where = f"category {number}"
            name = json_fields.text(fields, "name").strip()
            if name.lower() not in BACKGROUND:
                checked(name)
        except ValueError as error:
            raise ValueError(f"{path}, {where}: {error}") from None
        if number in found:
            raise ValueError(
                f"{path}: expected every category id once, got {number} of "
                f"{found[number].name!r} and {name!r}"
            )
        if name in names:
            raise ValueError(
                f"expected categories with distinct names in {path}, got twice {name} "
                f"(ids {names[name]} and {number})"
            )
        found[number] = Category(number, name, fields.get("supercategory"))
        names[name] = number
    return tuple(found[number] for number in sorted(found))


def classes(
    found: Mapping[pathlib.Path, Sequence[Category]], used: Set[int], wanted: Sequence[str] = ()
) -> tuple[tuple[Category, ...], list[str]]:
    """Returns the categories of files that are read together, and the names that are none.

    Args:
        found: the categories of each file, at least one.
        used: the ids that annotations refer to.
        wanted: names that stay in any case.

    Raises:
        ValueError: where the files disagree, a name is no class, or none is left.
    """
    first, categories = next(iter(found.items()))
    for path, others in found.items():
        if [other[:2] for other in others] != [category[:2] for category in categories]:
            raise ValueError(f"expected the same categories in every split, got others in {path}")
    unused = [c for c in categories if c.id not in used and c.name not in wanted]
    left_out = [c for c in unused if c.name.lower() in BACKGROUND or _is_project(c, categories)]
    kept = tuple(category for category in categories if category not in left_out)
    if not kept:
        raise ValueError(f"expected categories with distinct names in {first}, got none")
    for category in kept:
        try:
            checked(category.name)
        except ValueError as error:
            raise ValueError(f"{first}, category {category.id}: {error}") from None
    return kept, [category.name for category in left_out]


def _is_project(category: Category, categories: Sequence[Category]) -> bool:
    others = [other for other in categories if other.id != category.id]
    return (
        category.supercategory == "none"
        and bool(others)
        and all(other.supercategory == category.name for other in others)
    )
