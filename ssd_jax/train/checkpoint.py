"""Checkpoints of a run: the state and the loader's position, by recency and by best mAP."""

import concurrent.futures
import json
import logging
import pathlib
import shutil
import types
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jaxtyping import PyTree

from ssd_jax.train import integrity
from ssd_jax.train.agreement import on_first_process
from ssd_jax.train.best import ranked
from ssd_jax.train.state import TrainState

log = logging.getLogger(__name__)

METRIC = "mAP"

# Folders of a workdir, and the parts of a checkpoint.
RECENT, BEST = "checkpoints", "best"
VARIABLES, PROGRESS, DATA, NOTES = "variables", "progress", "data", "notes"

# Names in those folders that stand for no checkpoint. What is being written or removed when a run
# is killed is cleared away by the next; what is damaged is set aside, and stays.
_WRITING, _REMOVING, _DAMAGED = ".writing-", ".removing-", ".damaged"

# Trained weights lose hardly a tenth by compression.
_COMPRESSION = 0.9

_GOES_ON = "What was saved before is whole: once there is space, the same command goes on"


class CheckpointError(OSError):
    """A checkpoint could not be written."""


class _Problem(NamedTuple):
    """What is wrong with a checkpoint."""

    text: str
    certain: bool = True  # False: it could not be read now, and may be whole


class Checkpoints:
    """The checkpoints below a workdir: `checkpoints/STEP` (recent) and `best/STEP` (by mAP).

    Two folders, so that a state is safe before its evaluation starts and the best one outlives
    the recent ones. Writing is asynchronous, one after the other, and atomic: a folder gets its
    name when all of it and its manifest are there. Which are the best is decided by the metrics
    on disk, so that a run that was stopped decides as one that was not.

    Every process of a run calls the same methods; the first one alone touches the folders.
    A context manager: leaving it waits for what is being written.
    """

    def __init__(self, workdir: pathlib.Path, *, keep_recent: int = 2, keep_best: int = 1) -> None:
        """Opens (and creates) the folders.

        Raises:
          ValueError: if nothing would be kept.
        """
        if keep_recent < 1 or keep_best < 0:
            raise ValueError(
                "config.train: expected keep_recent >= 1 and keep_best >= 0, "
                f"got {keep_recent} and {keep_best}"
            )
        self._folders = {name: workdir.absolute() / name for name in (RECENT, BEST)}
        self._keep = {RECENT: keep_recent, BEST: keep_best}
        on_first_process(self._clear_away)
        self._checkpointer = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())
        self._background = concurrent.futures.ThreadPoolExecutor(1, "checkpoint")
        self._pending: concurrent.futures.Future | None = None

    def save(self, step: int, state: TrainState, data: Any, notes: Any) -> None:
        """Saves a state among the recent ones.

        Args:
          step: of the state.
          state: the same on every process.
          data: the loader's position, for JSON.
          notes: what else the run wants back when it resumes, for JSON.

        Raises:
          CheckpointError: where this or the checkpoint before it could not be written.
        """
        self._write(
            RECENT, step, state, {DATA: ocp.args.JsonSave(data), NOTES: ocp.args.JsonSave(notes)}
        )

    def save_best(self, step: int, state: TrainState, metric: float) -> None:
        """Saves an evaluated state, if it is among the best ones and is not there yet.

        Raises:
          CheckpointError: as `save`.
        """
        self.wait()
        if self._keep[BEST] and on_first_process(lambda: self._wants(step, metric)):
            self._write(BEST, step, state, {NOTES: ocp.args.JsonSave({METRIC: metric})})

    def latest_step(self) -> int:
        """Returns the newest step whose checkpoint is whole; 0 where nothing was saved yet.

        Damaged ones are reported and set aside under another name.

        Raises:
          ValueError: where there are checkpoints, and none that is whole.
        """

        def find() -> int:
            folder = self._folders[RECENT]
            found, problems = _newest_whole((folder / str(step)) for step in _steps(folder)[::-1])
            if found is None and problems:
                raise ValueError(
                    f"{folder}: no checkpoint to go on from; {_join(problems)}. Put a whole one "
                    f"back, or move {folder} away to begin anew"
                )
            if found is None:
                return 0
            for path, problem in problems.items():
                log.warning(
                    "%s is damaged: %s. The run goes on from step %s; it is kept as %s",
                    path,
                    problem.text,
                    found.name,
                    _set_aside(path).name if problem.certain else path.name,
                )
            return int(found.name)

        return on_first_process(find)

    def read(self, step: int, item: str) -> Any:
        """Returns what was saved as DATA or NOTES; None where an older version saved nothing."""
        return on_first_process(lambda: _read(self._folders[RECENT] / str(step), item))

    def restore(self, state: TrainState, step: int) -> TrainState:
        """Returns the state saved at `step`, placed as `state` is.

        Raises:
          ValueError: where its arrays are not those of `state`.
        """
        folder = self._folders[RECENT] / str(step)
        target = _split(_abstract(state))
        try:
            restored = self._checkpointer.restore(
                folder,
                args=ocp.args.Composite(
                    **{name: ocp.args.StandardRestore(part) for name, part in target.items()}
                ),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{folder}: its arrays are not those of this config: {_first_line(error)}"
            ) from error
        return state.replace(**restored[VARIABLES], **restored[PROGRESS])

    def wait(self) -> None:
        """Returns when what is being written has its place.

        Raises:
          CheckpointError: where it could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        if isinstance(error, jax.errors.JaxRuntimeError) and jax.process_count() > 1:
            # Another process is lost, and what is being written would wait for it.
            self._background.shutdown(wait=False)
            return
        try:
            self.wait()
        except CheckpointError:
            if error is None:  # otherwise the first error is the one to tell
                raise
        finally:
            self._background.shutdown()
            self._checkpointer.close()

    def _write(self, name: str, step: int, state: TrainState, notes: dict[str, Any]) -> None:
        self.wait()
        final = self._folders[name] / str(step)
        writing = final.with_name(f"{_WRITING}{step}")
        size = sum(array.nbytes for array in jax.tree.leaves(_split(state)))
        on_first_process(lambda: _check_space(final, size))
        try:
            self._checkpointer.save(
                writing, args=ocp.args.Composite(**_to_items(state), **notes), force=True
            )
        except Exception as error:
            raise self._failed(final, error) from error
        self._pending = self._background.submit(self._finish, name, step, writing, final)

    def _finish(self, name: str, step: int, writing: pathlib.Path, final: pathlib.Path) -> None:
        try:
            self._checkpointer.wait_until_finished()
            if jax.process_index() == 0:
                integrity.seal(writing)
                if final.exists():
                    # Of the steps that a run does once more; what is damaged is not removed.
                    damaged = _problem(final, contents=False) is not None
                    _set_aside(final) if damaged else _remove(final)
                writing.rename(final)
                self._prune(name, step)
        except Exception as error:
            raise self._failed(final, error) from error

    def _failed(self, final: pathlib.Path, error: Exception) -> CheckpointError:
        free = shutil.disk_usage(final.parent).free
        if jax.process_index() == 0:
            self._clear_away()
        return CheckpointError(
            f"{final} could not be written: {_first_line(error)} ({_megabytes(free)} are free "
            f"there). {_GOES_ON}"
        )

    def _clear_away(self) -> None:
        """Makes the folders, without what a killed run was writing or removing."""
        for folder in self._folders.values():
            folder.mkdir(parents=True, exist_ok=True)
            for path in folder.iterdir():
                left = path.name.startswith((_WRITING, _REMOVING))
                if left or ".orbax-checkpoint-tmp" in path.name:
                    shutil.rmtree(path, ignore_errors=True)

    def _prune(self, name: str, step: int) -> None:
        """Removes what is not to be kept; damaged checkpoints neither count nor go."""
        folder = self._folders[name]
        if name == BEST:
            kept = ranked(_metrics(folder))
        else:
            # Steps after this one are from before the run was taken back: left alone.
            kept = [
                s
                for s in _steps(folder)[::-1]
                if s <= step and _problem(folder / str(s), contents=False) is None
            ]
        for old in kept[self._keep[name] :]:
            _remove(folder / str(old))

    def _wants(self, step: int, metric: float) -> bool:
        """Returns whether an evaluated state is to be written."""
        metrics = _metrics(self._folders[BEST])
        if metrics.get(step) == metric:
            return False
        return step in ranked({**metrics, step: metric})[: self._keep[BEST]]


def load_variables(workdir: pathlib.Path, *, which: str = "latest") -> PyTree:
    """Returns the variables that a run's checkpoint is evaluated with, on the host.

    Where the newest or the best checkpoint is damaged, the one after it is taken, with a message.

    Args:
      workdir: of the run.
      which: "latest", "best" (by mAP), or a step.

    Raises:
      ValueError: where there is no such checkpoint, naming the ones there are; or none that is
        whole, saying what was tried.
    """
    workdir = workdir.absolute()
    steps = {name: _steps(workdir / name) for name in (RECENT, BEST)}
    if which == "latest":
        paths = [workdir / RECENT / str(step) for step in steps[RECENT][::-1]]
    elif which == "best":
        known = _metrics(workdir / BEST)
        others = [step for step in steps[BEST] if step not in known]
        paths = [workdir / BEST / str(step) for step in (*ranked(known), *others)]
    else:
        paths = [workdir / name / which for name in steps if which in map(str, steps[name])]
    there = "; ".join(f"{name}: {listed}" for name, listed in steps.items() if listed)
    if not paths:
        raise ValueError(f"{workdir}: no checkpoint {which!r}; there are {there or 'none at all'}")
    found, problems = _newest_whole(paths)
    if found is None:
        raise ValueError(
            f"{workdir}: no checkpoint {which!r} that is whole; {_join(problems)}. "
            f"There are {there}"
        )
    for path, problem in problems.items():
        log.warning("%s is damaged: %s. Taking %s in its place", path, problem.text, found)
    saved = _read_arrays(found, VARIABLES)
    return {"params": saved["ema_params"] or saved["params"], "batch_stats": saved["batch_stats"]}


def _newest_whole(
    paths: Iterable[pathlib.Path],
) -> tuple[pathlib.Path | None, dict[pathlib.Path, _Problem]]:
    """Returns the first whole checkpoint, and what is wrong with those before it."""
    problems: dict[pathlib.Path, _Problem] = {}
    for path in paths:
        problem = _problem(path)
        if problem is None:
            return path, problems
        problems[path] = problem
    return None, problems


def _problem(path: pathlib.Path, *, contents: bool = True) -> _Problem | None:
    """Returns what is wrong with a checkpoint, or None; `contents` as in `integrity.damage`."""
    try:
        if integrity.is_sealed(path):
            damage = integrity.damage(path, contents=contents)
            return None if damage is None else _Problem(damage)
        if not path.is_dir():
            return _Problem("it is no folder")
        if not any(path.iterdir()):
            return _Problem("its folder is empty")
        parts = (VARIABLES, PROGRESS, DATA) if path.parent.name == RECENT else (VARIABLES,)
        if missing := [name for name in parts if not (path / name).is_dir()]:
            return _Problem(f"it has no {' and no '.join(missing)}")
        # Of a version that wrote no checksums: what can be read is taken as whole.
        for name in (VARIABLES, PROGRESS) if contents else ():
            _read_arrays(path, name)
    except Exception as error:  # whatever Orbax raises
        return _Problem(f"it cannot be read: {_first_line(error)}", certain=False)
    return None


def _steps(folder: pathlib.Path) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal() and p.is_dir())


def _metrics(folder: pathlib.Path) -> dict[int, float | None]:
    """Returns the metric of every checkpoint that has its files; None where none was written."""
    found = {}
    for step in _steps(folder):
        path = folder / str(step)
        if _problem(path, contents=False) is None:
            notes = _read(path, NOTES)
            found[step] = notes[METRIC] if notes else None
    return found


def _read(path: pathlib.Path, item: str) -> Any:
    """Returns an item of JSON; None where there is none."""
    try:
        return json.loads((path / item / "metadata").read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _read_arrays(path: pathlib.Path, item: str) -> dict[str, Any]:
    """Returns an item's arrays on the host."""
    handler = ocp.StandardCheckpointHandler()
    folder = epath.Path(path / item)
    # Without a sharding in the target Orbax reads numpy arrays, wherever they were saved.
    target = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), dict(handler.metadata(folder)))
    saved = handler.restore(folder, args=ocp.args.StandardRestore(target))
    handler.close()
    return saved


def _set_aside(path: pathlib.Path) -> pathlib.Path:
    """Renames a damaged checkpoint, so that its step can be saved again; returns its new path."""
    number = 1
    while (aside := path.with_name(f"{path.name}{_DAMAGED}{number}")).exists():
        number += 1
    return path.rename(aside)


def _remove(path: pathlib.Path) -> None:
    """Removes a checkpoint; it loses its name first, so that a kill leaves no half of it."""
    removing = path.rename(path.with_name(f"{_REMOVING}{path.name}"))
    shutil.rmtree(removing)


def _check_space(path: pathlib.Path, size: int) -> None:
    """Raises a CheckpointError where a checkpoint cannot fit, which Orbax would tell at length."""
    free = shutil.disk_usage(path.parent).free
    if free < size * _COMPRESSION:
        raise CheckpointError(
            f"{path} could not be written: it takes {_megabytes(size)}, and {_megabytes(free)} "
            f"are free there. {_GOES_ON}"
        )


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.1f} MB"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]


def _join(problems: dict[pathlib.Path, _Problem]) -> str:
    return "; ".join(f"{path}: {problem.text}" for path, problem in problems.items())


def _split(state: TrainState) -> dict[str, PyTree]:
    """Returns what prediction needs and what only training needs, which are saved side by side."""
    variables = ("params", "batch_stats", "ema_params")
    return {
        VARIABLES: {name: getattr(state, name) for name in variables},
        PROGRESS: {"step": state.step, "opt_state": state.opt_state},
    }


def _to_items(state: TrainState) -> dict[str, ocp.args.StandardSave]:
    return {name: ocp.args.StandardSave(part) for name, part in _split(state).items()}


def _abstract(state: TrainState) -> TrainState:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )
