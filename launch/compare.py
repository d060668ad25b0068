"""Prints the scores of finished runs, a row for each config, with the spread over its seeds.

python -m launch.compare runs/a runs/b ... [--per_class]
"""

import pathlib

from absl import flags

from ssd_jax.sweeps import comparison
from ssd_jax.text_table import TextTable

from . import cli

_PER_CLASS = flags.DEFINE_bool("per_class", False, "Also VOC07's AP of every class.")


def main() -> None:
    """Runs the command."""
    workdirs = [pathlib.Path(x) for x in cli.positional()]
    if not workdirs:
        raise ValueError("launch.compare: name the workdirs of finished runs")
    rows = comparison.compare(workdirs)
    names = list(comparison.SCORES)
    if _PER_CLASS.value:
        names += dict.fromkeys(name for row in rows for name in row.per_class)
    scores = [row.scores | row.per_class for row in rows]
    shown = [name for name in names if any(each.get(name) for each in scores)]
    texts = [
        (row.name, str(len(row.seeds)), *(str(each.get(name) or "-") for name in shown))
        for row, each in zip(rows, scores, strict=True)
    ]
    cli.print_table(TextTable("", ("config", "seeds", *shown), texts).terminal())


if __name__ == "__main__":
    cli.run(main)
