"""The folders of checkpoints: the steps they hold, whether each is whole, and its contents."""

import json
import logging
import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jaxtyping import PyTree

from ssd_jax.checkpoints import integrity
from ssd_jax.checkpoints.best import ranked

log = logging.getLogger(__name__)

METRIC = "mAP"

# Folders of a workdir, and the parts of a checkpoint.
RECENT, BEST = "checkpoints", "best"
VARIABLES, PROGRESS, DATA, NOTES = "variables", "progress", "data", "notes"


class Problem(NamedTuple):
    """What is wrong with a checkpoint."""

    text: str
    certain: bool = True  # False where it could not be read, and may be whole


def load_variables(workdir: pathlib.Path, *, which: str = "latest") -> PyTree:
    """Returns the variables that a run's checkpoint is evaluated with, on the host.

    The checkpoint is "latest", "best" (by mAP) or a step. Where the newest or the best one is
    damaged, a message says so and the next one is taken.

    Raises:
        ValueError: where there is no such checkpoint, naming the ones there are; or none that is
            whole, saying what was tried.
    """
    workdir = workdir.absolute()
    steps = {name: steps_in(workdir / name) for name in (RECENT, BEST)}
    if which == "latest":
        paths = [workdir / RECENT / str(step) for step in steps[RECENT][::-1]]
    elif which == "best":
        known = metrics_in(workdir / BEST)
        others = [step for step in steps[BEST] if step not in known]
        paths = [workdir / BEST / str(step) for step in (*ranked(known), *others)]
    else:
        paths = [workdir / name / which for name in steps if which in map(str, steps[name])]
    there = "; ".join(f"{name}: {found}" for name, found in steps.items() if found)
    if not paths:
        raise ValueError(f"{workdir}: no checkpoint {which!r}; there are {there or 'none at all'}")
    found, problems = newest_whole(paths)
    if found is None:
        raise ValueError(
            f"{workdir}: no checkpoint {which!r} that is whole; {listed(problems)}. "
            f"There are {there}"
        )
    for path, problem in problems.items():
        log.warning("%s is damaged: %s. Taking %s in its place", path, problem.text, found)
    return read_arrays(found, VARIABLES)


def newest_whole(
    paths: Iterable[pathlib.Path],
) -> tuple[pathlib.Path | None, dict[pathlib.Path, Problem]]:
    """Returns the first whole checkpoint, and what is wrong with those before it."""
    problems: dict[pathlib.Path, Problem] = {}
    for path in paths:
        problem = problem_of(path)
        if problem is None:
            return path, problems
        problems[path] = problem
    return None, problems


def problem_of(path: pathlib.Path, *, contents: bool = True) -> Problem | None:
    """Returns what is wrong with a checkpoint, or None; `contents` as in `integrity.damage`."""
    try:
        if integrity.is_sealed(path):
            damage = integrity.damage(path, contents=contents)
            return None if damage is None else Problem(damage)
        if not path.is_dir():
            return Problem("it is no folder")
        if not any(path.iterdir()):
            return Problem("its folder is empty")
        return Problem(f"it has no {integrity.MANIFEST}")
    except OSError as error:
        return Problem(f"it cannot be read: {first_line(error)}", certain=False)


def steps_in(folder: pathlib.Path) -> list[int]:
    """Returns the steps of a folder's checkpoints, rising."""
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal() and p.is_dir())


def metrics_in(folder: pathlib.Path) -> dict[int, float]:
    """Returns the metric of every checkpoint that has its files."""
    paths = {step: folder / str(step) for step in steps_in(folder)}
    return {
        step: read_item(path, NOTES)[METRIC]
        for step, path in paths.items()
        if problem_of(path, contents=False) is None
    }


def read_item(path: pathlib.Path, item: str) -> Any:
    """Reads one of the JSON items of a whole checkpoint."""
    return json.loads((path / item / "metadata").read_bytes())


def read_arrays(path: pathlib.Path, item: str) -> dict[str, Any]:
    """Reads the arrays of one of its items, on the host."""
    handler = ocp.StandardCheckpointHandler()
    folder = epath.Path(path / item)
    # Without a sharding in the target Orbax reads numpy arrays, whatever devices saved them.
    target = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), dict(handler.metadata(folder)))
    saved = handler.restore(folder, args=ocp.args.StandardRestore(target))
    handler.close()
    return saved


def first_line(error: BaseException) -> str:
    """Returns the first line of an error; Orbax's go on for pages."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]


def listed(problems: dict[pathlib.Path, Problem]) -> str:
    """Returns the problems of checkpoints as text."""
    return "; ".join(f"{path}: {problem.text}" for path, problem in problems.items())
