"""A sweep: the trials of a sweep file on a config, run in a folder and reported."""

import logging
import pathlib
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ssd_jax.replacing import replacing
from ssd_jax.sweeps import anchor_coverage, local, plan, report, results, slurm
from ssd_jax.sweeps.folder import Progress, SweepFolder, counted, seconds_left
from ssd_jax.train.metrics import duration

log = logging.getLogger("ssd_jax")


class Sweep:
    """The trials of a sweep file, planned and checked before anything runs."""

    def __init__(
        self,
        file: plan.SweepFile,
        config_name: str,
        base: dict[str, Any],
        root: pathlib.Path,
        *,
        commands: str,
        overrides: Mapping[str, Any],
        parallel: int = 1,
        cache: str | None = None,
    ) -> None:
        """Plans the trials.

        Args:
            file: the sweep file.
            config_name: the config's file and variant, as --config takes them.
            base: that config as nested dicts.
            root: the sweep's folder.
            commands: the package of the commands: "launch", or "ssd_jax.launch" when installed.
            overrides: the command line's overrides, which stand above the sweep file's.
            parallel: how many trials run at a time.
            cache: the folder of compiled programs, which all trials share; None means one in root.

        Raises:
            ValueError: for overrides that do not fit the config, a trial without a data set to
                score on, or a folder that holds the runs of another sweep.
        """
        self._file, self._config, self._overrides = file, config_name, dict(overrides)
        self._commands, self._parallel = commands, parallel
        self._plan = plan.plan(base, file, self._overrides)
        for trial in self._plan.trials:
            plan.flags(trial, file, self._overrides)
            if not trial.experiment.data.eval:
                raise ValueError(
                    f"{file.path}, {trial.name}: expected a data set to score on, got an empty "
                    "config.data.eval"
                )
        self.folder = SweepFolder(root)
        self.folder.check(self._plan.trials)
        self._cache = str(root.absolute() / "compilation_cache") if cache is None else cache

    def command(self, trial: plan.Trial) -> list[str]:
        """Returns the command that runs a trial."""
        arguments = self._train_arguments(trial, self.folder.workdir(trial))
        return [sys.executable, *arguments, f"--compilation_cache={self._cache}"]

    def progress(self) -> list[Progress]:
        """Returns how far every trial is."""
        trials = self._plan.trials
        jobs = slurm.working(self.folder, trials)
        return [self.folder.progress(trial, elsewhere=trial.name in jobs) for trial in trials]

    def run_here(self, *, gpus: Sequence[str] = (), retry: bool = False) -> None:
        """Runs the trials that are left, with `retry` the failed ones too; see `LocalTrials`."""
        runner = local.LocalTrials(
            self.folder, self.command, parallel=self._parallel, gpus=gpus, ended=self._ended
        )
        runner.run(self._todo(retry))

    def run_on_slurm(self, options: Sequence[str], *, retry: bool = False) -> None:
        """Runs them as jobs of a cluster; the options are submitit's parameters as NAME=VALUE."""
        parameters = slurm.parse_options(options, parallel=self._parallel)
        executor = slurm.executor(self.folder.root / "slurm", parameters)
        slurm.run(self._todo(retry), self.folder, self.command, executor, ended=self._ended)

    def status(self) -> str:
        """Returns how many trials are in each state, what runs, what failed, and the time left."""
        progress = self.progress()
        lines = [counted(progress)]
        for one in progress:
            if one.state in ("running", "stopped"):
                lines.append(f"  {one.state}: {one.trial.name}, step {one.step} of {one.steps}")
            if one.state == "failed":
                lines.append(f"  failed: {one.trial.name}: {one.reason}")
                lines.append(f"    its output: {self.folder.log(one.trial)}; --retry runs it again")
        if left := self._left(progress):
            lines.append(f"about {left} left")
        return "\n".join(lines)

    def write_report(self) -> pathlib.Path:
        """Writes report.html and results.csv, and returns the path of the former."""
        progress = self.progress()
        scored = [one.trial for one in progress if one.state == "finished"]
        found = anchor_coverage.of_settings(scored, self.folder.root)
        collected = results.collect(self.folder, progress, found)
        results.write_csv(collected, self.folder.root / "results.csv")
        best, notes = "", []
        if collected.best is not None:
            workdir = pathlib.Path("runs", collected.best.name)
            best = shlex.join(["python", *self._train_arguments(collected.best.trial, workdir)])
        if self._plan.duplicates:
            notes.append(
                f"Left out: {self._plan.duplicates} of the sweep file that says the same as "
                "another trial."
            )
        if common := {**self._file.common, **self._overrides}:
            listed = ", ".join(f"{path}={value}" for path, value in common.items())
            notes.append(f"All trials: {listed}")
        command = ["python", "-m", f"{self._commands}.sweep", *self.folder.arguments()]
        page = report.render(
            collected,
            progress,
            title=f"{pathlib.Path(self._file.path).stem} on {self._config}",
            command=shlex.join(command),
            best_command=best,
            left=self._left(progress),
            notes=notes,
        )
        path = self.folder.root / "report.html"
        with replacing(path) as aside:
            aside.write_text(page)
        return path

    def _train_arguments(self, trial: plan.Trial, workdir: pathlib.Path) -> list[str]:
        return [
            *("-m", f"{self._commands}.train", f"--config={self._config}"),
            *plan.flags(trial, self._file, self._overrides),
            f"--workdir={workdir}",
        ]

    def _todo(self, retry: bool) -> list[plan.Trial]:
        if self._plan.duplicates:
            log.info("Left out: %d that says the same as another trial", self._plan.duplicates)
        skipped = ("finished",) if retry else ("finished", "failed")
        progress = self.progress()
        todo = [one.trial for one in progress if one.state not in skipped]
        log.info("%d trials to run, %d done", len(todo), len(progress) - len(todo))
        return todo

    def _left(self, progress: Sequence[Progress]) -> str:
        seconds = seconds_left(progress, self._parallel)
        return duration(seconds) if seconds else ""

    def _ended(self, trial: plan.Trial) -> None:
        """Logs how a trial ended, and writes the report."""
        progress = self.progress()
        [one] = [each for each in progress if each.trial is trial]
        finished = sum(each.state == "finished" for each in progress)
        left = f", about {left} left" if (left := self._left(progress)) else ""
        reason = f": {one.reason}" if one.reason else ""
        end = f"{trial.name}: {one.state} at step {one.step}{reason}"
        log.info("%d of %d finished%s. %s", finished, len(progress), left, end)
        self.write_report()
