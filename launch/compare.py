"""Prints what finished runs scored, a row for each config, with the spread over its seeds.

python -m launch.compare runs/a runs/b ... [--per_class]
"""

import pathlib
import sys

from absl import flags
from rich.console import Console
from rich.table import Table
from rich.text import Text

from launch import cli
from ssd_jax.study import comparison

_PER_CLASS = flags.DEFINE_bool("per_class", False, "VOC07's AP of every class, too.")


def main() -> int:
    """Runs the command."""
    workdirs = [pathlib.Path(x) for x in cli.positional()]
    if not workdirs:
        raise ValueError("launch.compare: name the workdirs of finished runs")
    rows = comparison.compare(workdirs)
    names = list(comparison.SCORES)
    if _PER_CLASS.value:
        names += dict.fromkeys(name for row in rows for name in row.per_class)
    scores = [row.scores | row.per_class for row in rows]
    table = Table()
    table.add_column("config")
    table.add_column("seeds", justify="right")
    for name in (shown := [n for n in names if any(each.get(n) for each in scores)]):
        table.add_column(Text(name), justify="right", no_wrap=True)  # not read as markup
    for row, each in zip(rows, scores, strict=True):
        table.add_row(
            Text(row.name), str(len(row.seeds)), *(str(each.get(n) or "-") for n in shown)
        )
    # Into a file or a pipe the whole table, whatever its width.
    Console(width=None if sys.stdout.isatty() else 40 + 14 * len(shown)).print(table)
    return 0


if __name__ == "__main__":
    cli.run(main)
