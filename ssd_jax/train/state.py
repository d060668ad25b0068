"""Everything a run has learned: what a checkpoint holds."""

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Int, PyTree


class TrainState(struct.PyTreeNode):
    """The state of a run after `step` updates."""

    step: Int[Array, ""]
    params: PyTree
    batch_stats: PyTree  # {} without BatchNorm
    opt_state: PyTree
    ema_params: PyTree  # a running average of params; {} where it is off

    @classmethod
    def create(
        cls, variables: PyTree, optimizer: optax.GradientTransformation, *, ema: bool
    ) -> "TrainState":
        """Returns the state before the first step, from a detector's variables."""
        params = variables["params"]
        return cls(
            step=jnp.zeros((), jnp.int32),
            params=params,
            batch_stats=variables.get("batch_stats", {}),
            opt_state=optimizer.init(params),
            # A copy: the step donates its state, and one buffer cannot be donated twice.
            ema_params=jax.tree.map(jnp.copy, params) if ema else {},
        )

    def variables(self) -> PyTree:
        """Returns what the detector is evaluated with: the averaged parameters where kept."""
        return {"params": self.ema_params or self.params, "batch_stats": self.batch_stats}
