"""Reading JSON that strangers made, and values of the type that a field must have.

JSON's own words are strict here: true is no number, and "12" is none. A whole number may be written
12.0. `null` stands for a field that is not there.
"""

import json
import math
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

_MOST_ID = 2**63  # what 64 bits hold

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def parse(data: bytes) -> Any:
    """Parses a file's bytes, in UTF-8, UTF-16 or UTF-32.

    Raises:
        ValueError: where they are not JSON, are nested too deeply, or hold a key twice; the
            message is the reason, without a place.
    """
    try:
        return json.loads(data, object_pairs_hook=_without_repetition)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{error}; save it as UTF-8") from None


def shown(value: Any) -> str:
    """Returns a value as an error shows it: short, however long or deep it is."""
    return "null" if value is None else _SHORT.repr(value)


def mapping(value: Any) -> Mapping[str, Any]:
    """Returns a value that is an object of JSON."""
    if not isinstance(value, dict):
        raise ValueError(f"expected an object of JSON, got {shown(value)}")
    return value


def whole_number(fields: Mapping[str, Any], key: str) -> int:
    """Returns a whole number from 0 that 64 bits hold."""
    value = fields.get(key)
    if _is_number(value) and value == int(value) and 0 <= value < _MOST_ID:
        return int(value)
    raise ValueError(f"expected a whole number from 0 in {key}, got {shown(value)}")


def identifier(fields: Mapping[str, Any], key: str) -> int | str:
    """Returns a whole number, or a text that is not empty."""
    value = fields.get(key)
    if isinstance(value, str) and value.strip():
        return value
    if _is_number(value) and value == int(value) and abs(value) < _MOST_ID:
        return int(value)
    raise ValueError(f"expected a whole number or a text in {key}, got {shown(value)}")


def text(fields: Mapping[str, Any], key: str) -> str:
    """Returns a text that is not empty."""
    value = fields.get(key)
    if isinstance(value, str) and value.strip():
        return value
    raise ValueError(f"expected a text in {key}, got {shown(value)}")


def flag(fields: Mapping[str, Any], key: str) -> bool:
    """Returns a flag: 0, 1, true or false; one that is not there is 0."""
    value = fields.get(key)
    if value is None:
        return False
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    raise ValueError(f"expected 0 or 1 in {key}, got {shown(value)}")


def optional_number(fields: Mapping[str, Any], key: str) -> float | None:
    """Returns a finite number, None where there is none."""
    value = fields.get(key)
    if value is None or _is_number(value):
        return value
    raise ValueError(f"expected a number in {key}, got {shown(value)}")


def numbers(fields: Mapping[str, Any], key: str, count: int) -> Sequence[float]:
    """Returns a list of `count` numbers, which may be NaN or infinite."""
    value = fields.get(key)
    if isinstance(value, list) and len(value) == count and all(map(_is_float, value)):
        return [float(item) for item in value]
    raise ValueError(f"got {shown(value)}")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {shown(repeated)} comes twice in one object")
    return fields


def _is_number(value: Any) -> bool:
    return _is_float(value) and math.isfinite(float(value))


def _is_float(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        float(value)
    except OverflowError:  # of a whole number with hundreds of digits
        return False
    return True
