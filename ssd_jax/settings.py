"""Frozen dataclasses from and to nested dicts, with every name and type checked.

A dict of a part (see `registry`) holds its name beside its fields: {"name": "resnet", "depth": 50}.
A path names a field from the top: "config.model.backbone.depth".
"""

import ast
import dataclasses
import difflib
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from flax.traverse_util import flatten_dict

from ssd_jax.registry import Registry

# The key of a part's name among its fields.
NAME = "name"

_TRUTH = {"true": True, "1": True, "false": False, "0": False}


def from_dict(cls: type, values: Any, where: str) -> Any:
    """Returns a dataclass from nested dicts; a field that is missing takes its default.

    An instance of the class is returned as it is. `where` is the path of the group, for messages.

    Raises:
        ValueError: for an unknown field (with the nearest valid one), a value of another type, or
            values that contradict each other.
    """
    if isinstance(values, cls):
        return values
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected a group of fields, got {values!r}")
    hints = _hints(cls)
    for name in values:
        if name not in hints:
            raise ValueError(f"{where}.{name}: there is no such field{_suggest(name, list(hints))}")
    checked = {}
    for field in dataclasses.fields(cls):
        if field.name in values:
            default = None if field.default is dataclasses.MISSING else field.default
            path = f"{where}.{field.name}"
            checked[field.name] = _check(hints[field.name], values[field.name], path, default)
    try:
        return cls(**checked)
    except ValueError as error:
        # Parts name their own field, as "ResNet.depth: ..."; a user knows its path.
        field, colon, reason = str(error).partition(": ")
        own = field.removeprefix(f"{cls.__name__}.")
        path = f"{where}.{own}" if colon and own != field else f"{where}: {field}"
        raise ValueError(f"{path}{colon}{reason}") from None


def to_dict(value: Any) -> Any:
    """Returns a dataclass as nested dicts of plain values, its parts with their names."""
    values = {}
    hints = _hints(type(value))
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        if registry := registry_of(hints[field.name]):
            item = {NAME: registry.name_of(item), **to_dict(item)}
        elif dataclasses.is_dataclass(item):
            item = to_dict(item)
        values[field.name] = item
    return values


def override(cls: type, values: dict[str, Any], changes: Mapping[str, Any], top: str) -> None:
    """Changes nested dicts in place, field by field.

    A value for a part is its name, and the part then takes its own defaults. Parts are chosen
    before fields are set, whatever their order.

    Args:
        cls: the dataclass that the dicts describe.
        values: nested dicts of all fields, as `to_dict` returns them.
        changes: values by path. A str becomes the type of its field, so that flags can pass text.
        top: the first word of every path.

    Raises:
        ValueError: for a path that leads nowhere, naming the nearest valid one or the part that has
            the field, or for text that cannot be the field's type.
    """
    for path in sorted(changes, key=_depth):
        _override(cls, values, path, changes[path], top)


def _override(cls: type, values: dict[str, Any], path: str, value: Any, top: str) -> None:
    first, *names = path.split(".")
    if first != top or not names:
        raise ValueError(
            f"{path}: expected a field such as {top}.train.steps{_near(cls, path, top)}"
        )
    kind: Any = cls
    for i, name in enumerate(names):
        where = ".".join([top, *names[:i]])
        registry = registry_of(kind)
        group = registry[values[NAME]] if registry else kind
        if not dataclasses.is_dataclass(group):
            raise ValueError(f"{path}: {where} is a field and not a group of fields")
        hints = _hints(group)
        last = i == len(names) - 1
        if registry and name == NAME and last:
            if value != values[NAME]:
                values.clear()
                values.update(_named(registry, value, path))
            return
        if name not in hints:
            part = values[NAME] if registry else ""
            raise ValueError(f"{path}: {_absent(cls, registry, part, name, hints, where, top)}")
        kind = hints[name]
        if not last:
            values = values[name]
            continue
        inner = registry_of(kind)
        if isinstance(value, str):
            value = _named(inner, value, path) if inner else _parse(kind, value, path)
        values[name] = value


def _fields(cls: type, top: str) -> Iterator[tuple[str, Registry | None]]:
    """Yields the path and the registry of every field of a dataclass and of all possible parts."""
    for name, kind in _hints(cls).items():
        path, registry = f"{top}.{name}", registry_of(kind)
        is_group = registry is None and dataclasses.is_dataclass(kind)
        if not is_group:
            yield path, registry
        parts = [registry[part] for part in registry] if registry else []
        for group in [kind] if is_group else parts:
            yield from _fields(group, path)


def part_name(cls: type, value: Any) -> str | None:
    """Returns the name of a part, by the registries of a dataclass; None for any other value."""
    registries = (registry for _, registry in _fields(cls, "") if registry)
    return next((r.name_of(value) for r in registries if type(value) in r), None)


def registry_of(kind: Any) -> Registry | None:
    """Returns the registry that a field's type is annotated with."""
    if typing.get_origin(kind) is typing.Annotated:
        return next((x for x in kind.__metadata__ if isinstance(x, Registry)), None)
    return None


def differences(old: Any, new: Any) -> dict[str, tuple[Any, Any]]:
    """Returns the fields in which two dataclasses differ, as {"group.field": (old, new)}."""
    old_fields, new_fields = (flatten_dict(to_dict(each), sep=".") for each in (old, new))
    names = sorted({*old_fields, *new_fields})
    pairs = {name: (old_fields.get(name), new_fields.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _hints(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _depth(path: str) -> int:
    return path.removesuffix(f".{NAME}").count(".")


def _named(registry: Registry, name: Any, path: str) -> dict[str, Any]:
    try:
        return {NAME: name, **to_dict(registry[name]())}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _absent(
    cls: type,
    registry: Registry | None,
    part: str,
    name: str,
    hints: dict[str, Any],
    where: str,
    top: str,
) -> str:
    """Returns the message about a field that its group does not have."""
    if registry and (owners := [one for one in registry if name in _hints(registry[one])]):
        return (
            f"the {registry.noun} {part!r} has no {name}; {' and '.join(owners)} "
            f"{'has' if len(owners) == 1 else 'have'} it: choose one with {where}={owners[0]}"
        )
    if near := difflib.get_close_matches(name, hints, n=1, cutoff=0.6):
        hint = f"; did you mean {where}.{near[0]}?"
    else:
        hint = _near(cls, f"{where}.{name}", top) or _suggest(name, list(hints))
    return f"there is no such field{hint}"


def _near(cls: type, path: str, top: str) -> str:
    """Returns a hint at the field of this name elsewhere, or at the nearest path."""
    known = list(dict.fromkeys(path for path, _ in _fields(cls, top)))
    last = path.rpartition(".")[2]
    found = [other for other in known if other.rpartition(".")[2] == last]
    found += difflib.get_close_matches(path, known, n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


def _check(kind: Any, value: Any, where: str, default: Any = None) -> Any:
    """Returns `value` as type `kind`; lists become tuples and whole numbers floats where asked."""
    if registry := registry_of(kind):
        return _part(registry, value, where, default)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return from_dict(typing.cast(type, kind), value, where)
    if origin in (typing.Union, types.UnionType):
        if value is None and types.NoneType in args:
            return None
        return _check(_not_none(kind), value, where)
    if origin is tuple and isinstance(value, list | tuple):
        if args[-1] is Ellipsis:
            args = (args[0],) * len(value)
        if len(args) == len(value):
            pairs = enumerate(zip(args, value, strict=True))
            return tuple(_check(kind, item, f"{where}[{i}]") for i, (kind, item) in pairs)
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif origin is None and isinstance(value, kind) and isinstance(value, bool) == (kind is bool):
        return value
    raise ValueError(f"{where}: expected {_describe(kind)}, got {value!r}")


def _part(registry: Registry, value: Any, where: str, default: Any) -> Any:
    if dataclasses.is_dataclass(value):
        registry.name_of(value)
        return value
    if isinstance(value, str):
        value = {NAME: value}
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected a {registry.noun} with its fields, got {value!r}")
    fields = {name: item for name, item in value.items() if name != NAME}
    name = value[NAME] if NAME in value else registry.name_of(default)
    try:
        part = registry[name]
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    for field in fields:
        if field not in _hints(part):
            reason = _absent(part, registry, name, field, _hints(part), where, where)
            raise ValueError(f"{where}.{field}: {reason}")
    return from_dict(part, fields, where)


def _parse(kind: Any, text: str, where: str) -> Any:
    """Returns the value that a flag's text stands for."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return None if text == "None" else _parse(_not_none(kind), text, where)
    if kind is str:
        return text
    if kind is bool and text.lower() in _TRUTH:
        return _TRUTH[text.lower()]
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise ValueError(f"{where}: expected {_describe(kind)}, got {text!r}") from None


def _not_none(kind: Any) -> Any:
    [inner] = [t for t in typing.get_args(kind) if t is not types.NoneType]
    return inner


def _describe(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)


def _suggest(name: str, valid: list[str]) -> str:
    near = difflib.get_close_matches(str(name), valid, n=1, cutoff=0.5)
    listed = ", ".join(sorted(valid))
    return f"; did you mean {near[0]}?" if near else f"; the fields here are {listed}"
