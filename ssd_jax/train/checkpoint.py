"""Checkpoints of a run: the state and the loader's position, by recency and by best mAP."""

import pathlib
import types
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jaxtyping import PyTree
from orbax.checkpoint.checkpoint_managers import BestN, LatestN

from ssd_jax.data.pipeline import BatchIterator
from ssd_jax.train.state import TrainState

METRIC = "mAP"

# Folders of a workdir, and the parts of a checkpoint.
RECENT, BEST = "checkpoints", "best"
VARIABLES, PROGRESS = "variables", "progress"


class Checkpoints:
    """The checkpoints below a workdir: `checkpoints/STEP` (recent) and `best/STEP` (by mAP).

    Two folders, so that a state is safe before its evaluation starts and the best one outlives
    the recent ones. Writing is asynchronous and atomic: a killed process leaves whole checkpoints.
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
        self._recent = self._manager(workdir / RECENT, LatestN(n=keep_recent))
        by_metric = BestN(get_metric_fn=lambda metrics: metrics[METRIC], n=keep_best)
        self._best = self._manager(workdir / BEST, by_metric) if keep_best else None

    def save(self, step: int, state: TrainState, iterator: BatchIterator) -> None:
        """Saves a state with the loader's iterator; does nothing if this step is saved already."""
        if step not in self._recent.all_steps():
            self._recent.save(
                step,
                args=ocp.args.Composite(
                    **_to_items(state), data=ocp.args.JsonSave(iterator.get_state())
                ),
            )

    def save_best(self, step: int, state: TrainState, metric: float) -> None:
        """Offers an evaluated state to the best ones."""
        if self._best is not None and step not in self._best.all_steps():
            self._best.save(
                step,
                metrics={METRIC: metric},
                args=ocp.args.Composite(**_to_items(state)),
            )

    def latest_step(self) -> int | None:
        """Returns the step of the newest checkpoint, or None where there is none."""
        return self._recent.latest_step()

    def restore(self, state: TrainState, iterator: BatchIterator, step: int) -> TrainState:
        """Returns the state saved at `step`, placed as `state` is; sets the iterator's position."""
        target = _split(_abstract(state))
        restored = self._recent.restore(
            step,
            args=ocp.args.Composite(
                **{name: ocp.args.StandardRestore(part) for name, part in target.items()},
                data=ocp.args.JsonRestore(),
            ),
        )
        iterator.set_state(restored["data"])
        return state.replace(**restored[VARIABLES], **restored[PROGRESS])

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        for manager in (self._recent, self._best):
            if manager is not None:
                manager.wait_until_finished()
                manager.close()

    @staticmethod
    def _manager(folder: pathlib.Path, policy: Any) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policy, cleanup_tmp_directories=True
        )
        return ocp.CheckpointManager(folder.absolute(), options=options)


def load_variables(workdir: pathlib.Path, *, which: str = "latest") -> PyTree:
    """Returns the variables that a run's checkpoint is evaluated with, on the host.

    Args:
      workdir: of the run.
      which: "latest", "best" (by mAP), or a step.

    Raises:
      ValueError: where there is no such checkpoint, naming the ones there are.
    """
    steps = {name: _steps(workdir / name) for name in (RECENT, BEST)}
    names = {"latest": RECENT, "best": BEST}
    if which in names:
        found = [(names[which], str(step)) for step in steps[names[which]][-1:]]
    else:
        found = [(name, which) for name in steps if which in map(str, steps[name])]
    if not found:
        there = "; ".join(f"{name}: {listed}" for name, listed in steps.items() if listed)
        raise ValueError(f"{workdir}: no checkpoint {which!r}; there are {there or 'none at all'}")
    folder = epath.Path(workdir.absolute()).joinpath(*found[0], VARIABLES)
    handler = ocp.StandardCheckpointHandler()
    # Without a sharding in the target Orbax reads numpy arrays, wherever they were saved.
    target = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), dict(handler.metadata(folder)))
    saved = handler.restore(folder, args=ocp.args.StandardRestore(target))
    handler.close()
    return {"params": saved["ema_params"] or saved["params"], "batch_stats": saved["batch_stats"]}


def _steps(folder: pathlib.Path) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


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
