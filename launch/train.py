"""Trains a detector, or goes on with a run that was stopped.

python -m launch.train --config configs/ssd.py:300,voc --workdir DIR [--config.group.field=value]
"""

import logging
import pathlib

import jax

from ssd_jax import config
from ssd_jax.train import loop

from . import cli

CONFIG = cli.define_config(required=True)
WORKDIR = cli.define_workdir()
cli.define_distributed()


def main() -> int:
    """Runs the command; 0 when the run is complete, 3 when it was stopped on the way."""
    cli.initialize_distributed()
    workdir = pathlib.Path(WORKDIR.value)
    try:
        result = loop.train(config.resolve(CONFIG.value), workdir)
    except (Exception, KeyboardInterrupt) as error:
        if jax.process_count() > 1:
            cli.leave(error)
        raise
    if not result.finished:
        return 3
    logging.getLogger("ssd_jax").info(
        "Done: %d steps. Figures and pictures are in %s", result.step, workdir
    )
    return 0


if __name__ == "__main__":
    cli.run(main)
