"""Everything a run has learned: what a checkpoint holds."""

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Int, PyTree

from ssd_jax.checkpoints.folders import PROGRESS, VARIABLES


class TrainState(struct.PyTreeNode):
    """The state of a run after `step` updates."""

    step: Int[Array, ""]
    params: PyTree
    batch_stats: PyTree  # {} without BatchNorm
    opt_state: PyTree
    ema: PyTree  # running averages, {"params": ..., "batch_stats": ...}; {} where they are off

    @classmethod
    def create(
        cls, variables: PyTree, optimizer: optax.GradientTransformation, *, ema: bool
    ) -> "TrainState":
        """Returns the state before the first step, from a detector's variables."""
        variables = {"batch_stats": {}} | variables
        return cls(
            step=jnp.zeros((), jnp.int32),
            **variables,
            opt_state=optimizer.init(variables["params"]),
            # A copy: the step donates its state, and one buffer cannot be donated twice.
            ema=jax.tree.map(jnp.copy, variables) if ema else {},
        )

    def variables(self) -> PyTree:
        """Returns what the detector is evaluated with: the averages where they are kept."""
        return self.ema or {"params": self.params, "batch_stats": self.batch_stats}

    def items(self) -> dict[str, PyTree]:
        """Returns the parts that a checkpoint keeps side by side.

        VARIABLES is what a detector is evaluated with, PROGRESS what only training needs.
        """
        live = {name: getattr(self, name) for name in ("params", "batch_stats")}
        progress = {"step": self.step, "opt_state": self.opt_state}
        return {
            VARIABLES: self.variables(),
            PROGRESS: progress | ({"live": live} if self.ema else {}),
        }

    def with_items(self, items: dict[str, PyTree]) -> "TrainState":
        """Returns the state that has the parts which `items` returned."""
        progress = dict(items[PROGRESS])
        live = progress.pop("live", items[VARIABLES])
        return self.replace(**live, **progress, ema=items[VARIABLES] if self.ema else {})
