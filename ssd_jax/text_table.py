"""A table of texts, for a terminal and for a page alike."""

from typing import NamedTuple

import rich.box
import rich.table
import rich.text


class TextTable(NamedTuple):
    """A title, headings and rows; the first column holds names, the others numbers."""

    title: str  # "" for none
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def terminal(self) -> rich.table.Table:
        """Returns it as rich prints it."""
        # A Text, where rich would make pictures of words like ":train:" in a str.
        title = rich.text.Text(self.title)
        table = rich.table.Table(title=title, box=rich.box.SIMPLE_HEAD, title_justify="left")
        for i, heading in enumerate(self.headings):
            table.add_column(
                rich.text.Text(heading), justify="right" if i else "left", no_wrap=True
            )
        for row in self.rows:
            table.add_row(*map(rich.text.Text, row))
        return table
