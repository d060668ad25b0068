import json

import pytest

from ssd_jax.data import json_fields

INFINITE = float("inf")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_any_unicode(encoding):
    assert json_fields.parse('{"a": "ü"}'.encode(encoding)) == {"a": "ü"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"a": 1, "a": 2}', "the key 'a' comes twice"),
        (b'"\xe9"', "save it as UTF-8"),
        (b"9" * 5000, "4300 digits"),
        (b"", "Expecting value"),
    ],
)
def test_what_is_refused(data, reason):
    with pytest.raises(ValueError, match=reason):
        json_fields.parse(data)


@pytest.mark.parametrize(
    ("reader", "values"),
    [
        (json_fields.whole_number, [(0, 0), (7, 7), (7.0, 7), (2**62, 2**62)]),
        (json_fields.identifier, [(0, 0), (-1, -1), (7.0, 7), ("7", "7"), ("a b", "a b")]),
        (json_fields.text, [("a", "a"), (" a", " a")]),
        (json_fields.flag, [(0, False), (1.0, True), (True, True), (None, False)]),
        (json_fields.optional_number, [(0, 0), (-1.5, -1.5), (None, None)]),
    ],
)
def test_values_of_the_right_type(reader, values):
    for value, expected in values:
        assert reader({"x": value}, "x") == expected
        assert value is not None or reader({}, "x") == expected


WRONG = (None, True, "7", "", 1.5, -1, 10**400, float("nan"), INFINITE, [1], {"a": 1})


@pytest.mark.parametrize(
    ("reader", "right"),
    [
        (json_fields.whole_number, ()),
        (json_fields.identifier, ("7", -1)),
        (json_fields.text, ("7",)),
        (json_fields.flag, (None, True)),
        (json_fields.optional_number, (None, 1.5, -1)),
    ],
)
def test_values_of_a_wrong_type_are_shown_with_their_field(reader, right):
    for value in WRONG:
        if any(value is other or value == other for other in right):
            continue
        with pytest.raises(ValueError, match="in some_key, got "):
            reader({"some_key": value}, "some_key")


def test_lists_of_numbers():
    assert json_fields.numbers({"x": [1, 2.5, -3]}, "x", 3) == [1, 2.5, -3]
    for value in ([1, 2], [1, 2, True], [1, 2, "3"], [1, 2, None], [1, 2, 10**400], "123", None):
        with pytest.raises(ValueError, match="got "):
            json_fields.numbers({"x": value}, "x", 3)


def test_values_are_shown_short():
    assert json_fields.shown(None) == "null"
    assert json_fields.shown([5, 5, 9]) == "[5, 5, 9]"
    deep = json.loads("[" * 500 + "]" * 500)
    for value in ("x" * 10_000, list(range(10_000)), deep, 10**300):
        assert len(json_fields.shown(value)) < 200
