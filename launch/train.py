"""Trains a detector, or goes on with a run that was stopped.

python -m launch.train --config configs/ssd.py:300,voc --workdir DIR [--config.group.field=value]
"""

import logging
import pathlib

from ssd_jax import config
from ssd_jax.train import loop

from . import cli, processes

CONFIG = cli.define_config(required=True)
WORKDIR = cli.define_workdir()
processes.define()


def main() -> int:
    """Runs the command; 0 when the run is complete, 3 when it was stopped on the way."""
    workdir = pathlib.Path(WORKDIR.value)
    with processes.joined(saves_on_sigterm=True):
        result = loop.train(config.resolve(CONFIG.value), workdir)
    if not result.finished:
        return 3
    logging.getLogger("ssd_jax").info(
        "Done: %d steps. Figures and pictures are in %s", result.step, workdir
    )
    return 0


if __name__ == "__main__":
    cli.run(main)
