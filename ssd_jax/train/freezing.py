"""Which parameters a run leaves as they are, by patterns of their paths."""

import fnmatch
from collections.abc import Sequence

import jax
import numpy as np
import rich.table
from jaxtyping import PyTree


def is_frozen(params: PyTree, patterns: Sequence[str]) -> PyTree:
    """Returns a bool for every parameter.

    Args:
        params: of a detector.
        patterns: with * and ?, of whole paths such as "backbone/conv1_1/conv/kernel"; * also
            matches slashes, so "backbone/*" is all of the backbone.

    Raises:
        ValueError: for a pattern that matches nothing.
    """
    matched = set()

    def matches(path: tuple[jax.tree_util.KeyEntry, ...], _: jax.Array) -> bool:
        name = _name(path)
        found = [pattern for pattern in patterns if fnmatch.fnmatchcase(name, pattern)]
        matched.update(found)
        return bool(found)

    mask = jax.tree_util.tree_map_with_path(matches, params)
    if unused := [pattern for pattern in patterns if pattern not in matched]:
        raise ValueError(
            f"config.optimizer.frozen: {', '.join(unused)} matches no parameter; they begin with "
            f"{', '.join(params)}"
        )
    return mask


def keep_frozen(mask: PyTree, old: PyTree, new: PyTree) -> PyTree:
    """Returns the new parameters, and of the frozen ones the old, bit for bit."""
    return jax.tree.map(lambda frozen, a, b: a if frozen else b, mask, old, new)


def summary(params: PyTree, mask: PyTree) -> rich.table.Table:
    """Returns a table of what is trained: every part of the network and its parameters."""
    counts: dict[str, np.ndarray] = {}
    flat = jax.tree_util.tree_leaves_with_path(params)
    for (path, value), frozen in zip(flat, jax.tree.leaves(mask), strict=True):
        part = _name(path).split("/")[0]
        if part == "backbone":
            part = "/".join(_name(path).split("/")[:2])
        counts.setdefault(part, np.zeros(2, np.int64))[int(frozen)] += value.size
    table = rich.table.Table(title="Parameters")
    for heading in ("", "trained", "frozen"):
        table.add_column(heading, justify="left" if not heading else "right")
    for part, (trained, frozen) in counts.items():
        table.add_row(part, f"{trained:,}" if trained else "", f"{frozen:,}" if frozen else "")
    trained, frozen = sum(counts.values())
    table.add_row("all", f"{trained:,}", f"{frozen:,}", style="bold")
    return table


def _name(path: tuple[jax.tree_util.KeyEntry, ...]) -> str:
    return "/".join(jax.tree_util.keystr((entry,), simple=True) for entry in path)
