"""Writing the checkpoints of a run: the state and the loader's position, by recency and by mAP."""

import concurrent.futures
import logging
import pathlib
import shutil
import types
from collections.abc import Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from jaxtyping import PyTree

from ssd_jax.agreement import lost_another_process, on_first_process
from ssd_jax.checkpoints import folders, integrity
from ssd_jax.checkpoints.best import ranked
from ssd_jax.checkpoints.folders import BEST, DATA, METRIC, NOTES, RECENT

log = logging.getLogger(__name__)

# Names in those folders that stand for no checkpoint. What a killed run was writing or removing is
# cleared away by the next; what is damaged is set aside, and stays.
_WRITING, _REMOVING, _DAMAGED = ".writing-", ".removing-", ".damaged"

# Trained weights lose hardly a tenth by compression.
_COMPRESSION = 0.9

_GOES_ON = "What was saved before is whole: once there is space, the same command goes on"


# The parts of a state by name, VARIABLES and PROGRESS, each a tree of arrays.
Items = Mapping[str, PyTree]


class CheckpointError(OSError):
    """A checkpoint could not be written."""


class Checkpoints:
    """The checkpoints below a workdir: `checkpoints/STEP` (recent) and `best/STEP` (by mAP).

    There are two folders, so that a state is safe before its evaluation starts and the best one
    outlives the recent ones. They are written in the background, one checkpoint after the other,
    and atomically: a checkpoint gets its name when all of it and its manifest are there. The
    metrics on disk decide which are the best, so that a run that was stopped decides as one that
    was not.

    Every process of a run calls the same methods; the first one alone touches the folders. Leaving
    the context waits for what is being written.
    """

    def __init__(self, workdir: pathlib.Path, *, keep_recent: int = 2, keep_best: int = 1) -> None:
        """Makes the folders, or opens them.

        Raises:
            ValueError: where nothing would be kept.
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

    def save(self, step: int, items: Items, data: Any, notes: Any) -> None:
        """Saves a state among the recent ones.

        Args:
            step: the step of the state.
            items: the state in parts, by name; the same on every process.
            data: the loader's position, for JSON.
            notes: what else the run wants back when it resumes, for JSON.

        Raises:
            CheckpointError: where this or the checkpoint before it could not be written.
        """
        self._write(
            RECENT, step, items, {DATA: ocp.args.JsonSave(data), NOTES: ocp.args.JsonSave(notes)}
        )

    def save_best(self, step: int, items: Items, metric: float) -> None:
        """Saves an evaluated state where it is among the best and not there yet.

        Raises:
            CheckpointError: as `save`.
        """
        self.wait()
        if self._keep[BEST] and on_first_process(lambda: self._wants(step, metric)):
            self._write(BEST, step, items, {NOTES: ocp.args.JsonSave({METRIC: metric})})

    def latest_step(self) -> int:
        """Returns the newest step whose checkpoint is whole; 0 where nothing was saved yet.

        Damaged ones are reported and set aside under another name.

        Raises:
            ValueError: where there are checkpoints, and none that is whole.
        """

        def find() -> int:
            folder = self._folders[RECENT]
            steps = folders.steps_in(folder)[::-1]
            found, problems = folders.newest_whole(folder / str(step) for step in steps)
            if found is None and problems:
                raise ValueError(
                    f"{folder}: no checkpoint to go on from; {folders.listed(problems)}. Put a "
                    f"whole one back, or move {folder} away to begin anew"
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
        """Returns what was saved as DATA or NOTES."""
        return on_first_process(lambda: folders.read_item(self._folders[RECENT] / str(step), item))

    def restore(self, items: Items, step: int) -> dict[str, PyTree]:
        """Returns the items saved at `step`, placed as the given ones are.

        Raises:
            ValueError: where its arrays are not those of `items`.
        """
        folder = self._folders[RECENT] / str(step)
        target = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), dict(items)
        )
        try:
            restored = self._checkpointer.restore(
                folder,
                args=ocp.args.Composite(
                    **{name: ocp.args.StandardRestore(part) for name, part in target.items()}
                ),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{folder}: its arrays are not those of this config: {folders.first_line(error)}"
            ) from error
        return {name: restored[name] for name in items}

    def wait(self) -> None:
        """Returns when the checkpoint that is being written has its name.

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
        if lost_another_process(error):
            # What is being written would wait for it.
            self._background.shutdown(wait=False)
            return
        try:
            self.wait()
        except CheckpointError:
            if error is None:  # otherwise the first error is the one to report
                raise
        finally:
            self._background.shutdown()
            self._checkpointer.close()

    def _write(self, name: str, step: int, items: Items, notes: dict[str, Any]) -> None:
        self.wait()
        final = self._folders[name] / str(step)
        writing = final.with_name(f"{_WRITING}{step}")
        size = sum(array.nbytes for array in jax.tree.leaves(dict(items)))
        on_first_process(lambda: _check_space(final, size))
        saved = {part: ocp.args.StandardSave(tree) for part, tree in items.items()}
        try:
            self._checkpointer.save(writing, args=ocp.args.Composite(**saved, **notes), force=True)
        except Exception as error:
            raise self._failed(final, error) from error
        self._pending = self._background.submit(self._finish, name, step, writing, final)

    def _finish(self, name: str, step: int, writing: pathlib.Path, final: pathlib.Path) -> None:
        try:
            self._checkpointer.wait_until_finished()
            if jax.process_index() == 0:
                integrity.seal(writing)
                if final.exists():
                    # The run does this step once more; what is damaged is not removed.
                    damaged = folders.problem_of(final, contents=False) is not None
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
            f"{final} could not be written: {folders.first_line(error)} ({_megabytes(free)} are "
            f"free there). {_GOES_ON}"
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
        """Removes all but the checkpoints to keep; damaged ones neither count nor go."""
        folder = self._folders[name]
        if name == BEST:
            kept = ranked(folders.metrics_in(folder))
        else:
            # Steps after this one are from before the run was taken back: left alone.
            kept = [
                s
                for s in folders.steps_in(folder)[::-1]
                if s <= step and folders.problem_of(folder / str(s), contents=False) is None
            ]
        for old in kept[self._keep[name] :]:
            _remove(folder / str(old))

    def _wants(self, step: int, metric: float) -> bool:
        """Returns whether an evaluated state is to be written."""
        metrics = folders.metrics_in(self._folders[BEST])
        if metrics.get(step) == metric:
            return False
        return step in ranked({**metrics, step: metric})[: self._keep[BEST]]


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
    """Raises a CheckpointError where a checkpoint cannot fit; Orbax would say so at length."""
    free = shutil.disk_usage(path.parent).free
    if free < size * _COMPRESSION:
        raise CheckpointError(
            f"{path} could not be written: it takes {_megabytes(size)}, and {_megabytes(free)} "
            f"are free there. {_GOES_ON}"
        )


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.1f} MB"
