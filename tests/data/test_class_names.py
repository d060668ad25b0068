import pytest

from ssd_jax.data import class_names


def test_spaces_around_a_name_are_no_part_of_it():
    for name in ("cat", "traffic light", "Katze ü", "狗", "7", "[red]cat[/red]"):
        assert class_names.checked(f" \n{name} ") == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "the name of a class"),
        (" \n", "the name of a class"),
        ("cat\ndog", "in one line"),
        ("cat\tdog", "in one line"),
        ("cat\u2028dog", "in one line"),
        ("\x1b[31mcat", "in one line"),
        ("\ud800", "in one line"),
        ("background", "which is label 0"),
        ("__Background__", "which is label 0"),
    ],
)
def test_what_is_no_name(name, reason):
    with pytest.raises(ValueError, match=reason):
        class_names.checked(name)


def test_chosen_classes():
    class_names.check_chosen(["dog", "cat"])
    for names in (["cat", "cat"], [" cat"], [""]):
        with pytest.raises(ValueError, match="class"):
            class_names.check_chosen(names)


def test_text_for_a_line():
    assert class_names.printable("a\nb\x1b\udcff ü") == r"a\nb\x1b\udcff ü"
