import io

import rich.console

from ssd_jax.text_table import TextTable


def printed(table):
    console = rich.console.Console(file=io.StringIO(), width=60)
    console.print(table.terminal())
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_texts_are_printed_as_they_are_with_numbers_on_the_right():
    rows = [("[red]x[/red]", "1"), ("y", "22")]
    title, _, headings, _, first, second = printed(TextTable(":a:", ("[b]c[/b]", "n"), rows))[:6]
    assert title == ":a:"
    assert headings.split() == ["[b]c[/b]", "n"]
    assert first.split() == ["[red]x[/red]", "1"]
    assert second.startswith("  y ")
    assert len(first) == len(second)


def test_no_title_is_no_line():
    assert (
        len(printed(TextTable("", ("a", "n"), []))) == len(printed(TextTable("t", ("a",), []))) - 1
    )
