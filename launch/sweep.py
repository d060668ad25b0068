"""Trains the trials of a sweep file, and reports the scores of their settings.

    python -m launch.sweep --config configs/X.py --sweep configs/sweeps/Y.py --workdir DIR \
      [--parallel N] [--executor local|slurm] [--config.group.field=value ...]

A sweep file may name its own config; overrides on the command line stand above the file's. Every
trial is an ordinary run in DIR/trials. The same command again goes on: what is finished is not run
again, what was stopped is resumed. Ctrl-C and SIGTERM let the running trials save first. DIR/
report.html and DIR/results.csv are rewritten whenever a trial ends.

    python -m launch.sweep --workdir DIR --status     # how far it is, and the time left
    python -m launch.sweep --workdir DIR --report     # writes the report again

With several GPUs, --parallel 4 --gpus 0,1,2,3 gives each trial one. On a SLURM cluster every trial
is a job, with options such as --slurm=slurm_partition=gpu --slurm=gpus_per_node=1
--slurm=timeout_min=600; see submitit's AutoExecutor. Exit status: 0 when all trials are finished, 1
where some failed, 3 when it was stopped or jobs are still to come.
"""

import logging
import os
import pathlib
import sys
from collections.abc import Sequence

import jax
from absl import flags

from ssd_jax.sweeps import plan
from ssd_jax.sweeps.folder import SweepFolder
from ssd_jax.sweeps.sweep import Sweep

from . import cli

_CONFIG = cli.define_config()
_WORKDIR = cli.define_workdir()
_SWEEP = flags.DEFINE_string("sweep", "", "A file of configs/sweeps/.")
_EXECUTOR = flags.DEFINE_enum("executor", "local", ["local", "slurm"], "Where trials run.")
_PARALLEL = flags.DEFINE_integer("parallel", 1, "How many trials at a time.", lower_bound=1)
_GPUS = flags.DEFINE_list("gpus", [], "local: the GPUs to share out, one a trial; default all.")
_RETRY = flags.DEFINE_bool("retry", False, "Run the trials that failed again.")
_STATUS = flags.DEFINE_bool("status", False, "Only print how far the sweep is.")
_REPORT = flags.DEFINE_bool("report", False, "Only write the report again.")
_SLURM = flags.DEFINE_multi_string("slurm", [], "slurm: NAME=VALUE of a submitit parameter.")

log = logging.getLogger("ssd_jax")


def main() -> int:
    """Runs the command."""
    # This process measures little; the accelerators are the trials'.
    jax.config.update("jax_platforms", "cpu")
    sweep = _sweep()
    if _STATUS.value:
        print(sweep.status())
        return 0
    if not _REPORT.value:
        sweep.folder.save_arguments(sys.argv[1:])
        if _EXECUTOR.value == "slurm":
            sweep.run_on_slurm(_SLURM.value, retry=_RETRY.value)
        else:
            sweep.run_here(gpus=_GPUS.value, retry=_RETRY.value)
    log.info("Written: %s", sweep.write_report())
    print(sweep.status())
    states = {one.state for one in sweep.progress()}
    if _REPORT.value or states == {"finished"}:
        return 0
    return 1 if states <= {"finished", "failed"} else 3


def _sweep() -> Sweep:
    if not _SWEEP.value:
        raise ValueError("--sweep: name a file of configs/sweeps/")
    file = plan.read(_SWEEP.value)
    if _CONFIG.value is None or _CONFIG.name is None:
        raise ValueError(f"--config: expected one, since {file.path} names none")
    own_cache = flags.FLAGS["compilation_cache"].present
    return Sweep(
        file,
        _CONFIG.name,
        _CONFIG.value,
        pathlib.Path(_WORKDIR.value),
        commands=__package__,
        overrides=_CONFIG.overrides,
        parallel=_PARALLEL.value,
        cache=os.path.expanduser(cli.COMPILATION_CACHE.value) if own_cache else None,
    )


def with_defaults(argv: Sequence[str]) -> list[str]:
    """Returns a command line, completed from the sweep's folder and from the sweep file.

    --status and --report of a folder take the arguments that its sweep was run with; a sweep
    without --config has the one that its file names. Errors are left to `main`.
    """
    argv = list(argv)
    workdir = _given(argv, "workdir")
    if workdir and not _given(argv, "sweep"):
        saved = SweepFolder(pathlib.Path(workdir)).arguments()
        argv += [x for x in saved if not x.startswith(("--workdir", "-workdir")) and x != workdir]
    sweep = _given(argv, "sweep")
    if sweep and not _given(argv, "config"):
        try:
            own = plan.read(sweep).config
        except ValueError:
            own = ""
        if own:
            argv.insert(1, f"--config={own}")
    return argv


def _given(argv: Sequence[str], name: str) -> str:
    """Returns the value of a flag on a command line, or ""."""
    for i, argument in enumerate(argv):
        flag, equals, value = argument.partition("=")
        if flag in (f"--{name}", f"-{name}"):
            return value if equals else "".join(argv[i + 1 : i + 2])
    return ""


if __name__ == "__main__":
    sys.argv = with_defaults(sys.argv)
    cli.run(main)
