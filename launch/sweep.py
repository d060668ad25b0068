"""Trains the trials of a sweep file, and reports what their settings scored.

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
import shlex
import sys
from collections.abc import Sequence

import jax
from absl import flags

from ssd_jax.sweeps import anchor_coverage, local, plan, report, results, slurm
from ssd_jax.sweeps.folder import STATES, Progress, SweepFolder, seconds_left
from ssd_jax.train.metrics import duration

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


class Sweep:
    """A sweep file on a config, in a folder."""

    def __init__(self) -> None:
        """Reads everything that the flags name.

        Raises:
          ValueError: for what does not fit, before anything runs.
        """
        if not _SWEEP.value:
            raise ValueError("--sweep: name a file of configs/sweeps/")
        self.file = plan.read(_SWEEP.value)
        if _CONFIG.value is None:
            raise ValueError(f"--config: expected one, since {self.file.path} names none")
        self.config, self.overrides = _CONFIG.name, _CONFIG.overrides
        self.plan = plan.plan(_CONFIG.value, self.file, self.overrides)
        for trial in self.plan.trials:
            plan.flags(trial, self.file, self.overrides)
            if not trial.experiment.data.eval:
                raise ValueError(
                    f"{self.file.path}, {trial.name}: expected a data set to score on, got an "
                    "empty config.data.eval"
                )
        self.folder = SweepFolder(pathlib.Path(_WORKDIR.value))
        self.folder.check(self.plan.trials)

    def train_command(self, trial: plan.Trial, workdir: pathlib.Path) -> list[str]:
        """Returns the arguments of launch.train for a trial."""
        return [
            *("-m", "launch.train", f"--config={self.config}"),
            *plan.flags(trial, self.file, self.overrides),
            f"--workdir={workdir}",
        ]

    def command(self, trial: plan.Trial) -> list[str]:
        """Returns the command that runs a trial; all trials share one cache of programs."""
        cache = str(self.folder.root.absolute() / "compilation_cache")
        if flags.FLAGS["compilation_cache"].present:
            cache = os.path.expanduser(cli.COMPILATION_CACHE.value)
        arguments = self.train_command(trial, self.folder.workdir(trial))
        return [sys.executable, *arguments, f"--compilation_cache={cache}"]

    def progress(self) -> list[Progress]:
        """Returns how far every trial is."""
        jobs = slurm.working(self.folder, self.plan.trials)
        return [
            self.folder.progress(trial, elsewhere=trial.name in jobs) for trial in self.plan.trials
        ]

    def left(self, progress: Sequence[Progress]) -> str:
        """Returns the time that the rest should take, to read; "" where it is not known."""
        seconds = seconds_left(progress, _PARALLEL.value)
        return duration(seconds) if seconds else ""

    def write_report(self) -> None:
        """Writes report.html and results.csv."""
        progress = self.progress()
        scored = [one.trial for one in progress if one.state == "finished"]
        found = anchor_coverage.of_settings(scored, self.folder.root)
        collected = results.collect(self.folder, progress, found)
        results.write_csv(collected, self.folder.root / "results.csv")
        best, notes = "", []
        if collected.best is not None:
            workdir = pathlib.Path("runs", collected.best.name)
            best = shlex.join(["python", *self.train_command(collected.best.trial, workdir)])
        if self.plan.duplicates:
            notes.append(
                f"Left out: {self.plan.duplicates} of the sweep file that says the same as another "
                "trial."
            )
        common = {**self.file.common, **self.overrides}
        if common:
            notes.append(
                "All trials: " + ", ".join(f"{path}={value}" for path, value in common.items())
            )
        page = report.render(
            collected,
            progress,
            title=f"{pathlib.Path(self.file.path).stem} on {self.config}",
            command=shlex.join(["python", "-m", "launch.sweep", *self.folder.arguments()]),
            best_command=best,
            left=self.left(progress),
            notes=notes,
        )
        new = self.folder.root / "report.html.new"
        new.write_text(page)
        new.replace(self.folder.root / "report.html")

    def ended(self, trial: plan.Trial) -> None:
        """Says how a trial ended, and writes the report."""
        progress = self.progress()
        [one] = [each for each in progress if each.trial is trial]
        finished = sum(each.state == "finished" for each in progress)
        left = self.left(progress)
        log.info(
            "%d of %d finished%s. %s: %s at step %d%s",
            finished,
            len(progress),
            f", about {left} left" if left else "",
            trial.name,
            one.state,
            one.step,
            f": {one.reason}" if one.reason else "",
        )
        self.write_report()


def main() -> int:
    """Runs the command."""
    # What is measured here is small; the accelerators are the trials'.
    jax.config.update("jax_platforms", "cpu")
    sweep = Sweep()
    if _STATUS.value:
        print_status(sweep)
        return 0
    if not _REPORT.value:
        sweep.folder.save_arguments(sys.argv[1:])
        run(sweep)
    sweep.write_report()
    log.info("Written: %s", sweep.folder.root / "report.html")
    print_status(sweep)
    states = {one.state for one in sweep.progress()}
    if _REPORT.value or states == {"finished"}:
        return 0
    return 1 if states <= {"finished", "failed"} else 3


def run(sweep: Sweep) -> None:
    """Runs what is not finished yet."""
    if sweep.plan.duplicates:
        log.info("Left out: %d that says the same as another trial", sweep.plan.duplicates)
    skipped = ("finished",) if _RETRY.value else ("finished", "failed")
    progress = sweep.progress()
    todo = [one.trial for one in progress if one.state not in skipped]
    log.info("%d trials to run, %d done", len(todo), len(progress) - len(todo))
    if _EXECUTOR.value == "slurm":
        options = slurm.parse_options(_SLURM.value, parallel=_PARALLEL.value)
        executor = slurm.executor(sweep.folder.root / "slurm", options)
        slurm.run(todo, sweep.folder, sweep.command, executor, ended=sweep.ended)
    else:
        local.LocalTrials(
            sweep.folder,
            sweep.command,
            parallel=_PARALLEL.value,
            gpus=_GPUS.value,
            ended=sweep.ended,
        ).run(todo)


def print_status(sweep: Sweep) -> None:
    """Prints how many trials are in each state, what runs and what failed, and the time left."""
    progress = sweep.progress()
    counts = {state: sum(one.state == state for one in progress) for state in STATES}
    print(", ".join(f"{number} {state}" for state, number in counts.items() if number))
    for one in progress:
        if one.state in ("running", "stopped"):
            print(f"  {one.state}: {one.trial.name}, step {one.step} of {one.steps}")
        if one.state == "failed":
            print(f"  failed: {one.trial.name}: {one.reason}")
            print(f"    its output: {sweep.folder.log(one.trial)}; --retry runs it again")
    if left := sweep.left(progress):
        print(f"about {left} left")


def with_defaults(argv: Sequence[str]) -> list[str]:
    """Returns a command line completed from the sweep's folder and from the sweep file.

    --status and --report of a folder take the arguments that its sweep was run with; a sweep
    without --config has the one that its file names. What is wrong is said later, by `main`.
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
