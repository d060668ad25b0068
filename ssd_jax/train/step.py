"""The train step: augment -> forward -> match -> mine -> loss -> update, one compiled program."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ssd_jax.data.augment import AugmentSpec, augment
from ssd_jax.detectors import Detector
from ssd_jax.sharding import batch_split, replicated
from ssd_jax.train import freezing
from ssd_jax.train.gradient import Exchange, make_gradient
from ssd_jax.train.state import TrainState
from ssd_jax.types import Batch, Targets


class StepMetrics(NamedTuple):
    """What one step reports, as scalars over the global batch."""

    loss: PyTree  # the NamedTuple of loss terms that the detector returned
    gradient_norm: Float[Array, ""]
    learning_rate: Float[Array, ""]


TrainStep = Callable[[TrainState, Batch, PRNGKeyArray], tuple[TrainState, StepMetrics]]


def augment_batch(batch: Batch, key: Array, spec: AugmentSpec) -> tuple[Array, Targets]:
    """Returns the augmented images [B, H, W, 3] and objects of a batch.

    Each image's randomness comes from `key` and the record's own number, so it does not depend on
    the image's place in the batch or on the number of devices.
    """
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch.index)
    fields = (batch.canvas, batch.size, batch.boxes_xyxy, batch.labels, batch.valid)
    result = jax.vmap(lambda *args: augment(*args, spec=spec))(keys, *fields)
    return result.image, Targets(result.boxes_xyxy, result.labels, result.valid)


def make_train_step(
    detector: Detector,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    spec: AugmentSpec,
    mesh: Mesh,
    *,
    exchange: Exchange,
    ema_decay: float = 0.0,
    frozen: Sequence[str] = (),
) -> TrainStep:
    """Returns the jitted (state, batch, key) -> (state, metrics); it takes the state's memory.

    The key is the run's, the same at every step: an argument, so that runs which differ in their
    seed alone share a compiled program.

    The batch is split over the mesh and the state replicated. `frozen` are patterns of parameters
    (see `freezing.is_frozen`), as the optimizer has them; for those no gradient is computed.
    """

    def augmented(batch: Batch, key: Array) -> tuple[Array, Targets]:
        return augment_batch(batch, key, spec)

    def step(state: TrainState, batch: Batch, key: PRNGKeyArray) -> tuple[TrainState, StepMetrics]:
        mask = freezing.is_frozen(state.params, frozen)
        gradient = make_gradient(detector, augmented, mesh, mask, exchange)
        key = jax.random.fold_in(key, state.step)
        gradients, batch_stats, terms = gradient(state.params, state.batch_stats, batch, key)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        params = freezing.keep_frozen(mask, state.params, params)
        ema = state.ema
        if ema_decay > 0:
            # Ramped up, so that the averages forget the initial values early on.
            decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))
            live = {"params": params, "batch_stats": batch_stats}
            average = optax.incremental_update(live, ema, 1.0 - decay)
            kept = freezing.keep_frozen(mask, ema["params"], average["params"])
            ema = {**average, "params": kept}
        metrics = StepMetrics(
            loss=terms,
            gradient_norm=optax.tree.norm(gradients),
            learning_rate=jnp.asarray(schedule(state.step), jnp.float32),
        )
        state = state.replace(
            step=state.step + 1,
            params=params,
            batch_stats=batch_stats,
            opt_state=opt_state,
            ema=ema,
        )
        return state, metrics

    return jax.jit(
        step,
        in_shardings=(replicated(mesh), batch_split(mesh), replicated(mesh)),
        out_shardings=replicated(mesh),
        donate_argnums=0,
    )
