"""The gradient of a batch that is split over devices, and of parts of it one after another.

Everything up to the gradient runs inside one `jax.shard_map`: a device augments, matches and mines
its own images, and what crosses the wire is written here and in BatchNorm, nowhere else.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, PyTree

from ssd_jax.detectors import Detector
from ssd_jax.sharding import AXIS
from ssd_jax.types import Batch, LossTerms, Targets

Gradient = Callable[[PyTree, PyTree, Batch, Array], tuple[PyTree, PyTree, Any]]

_Sums = tuple[LossTerms, ...]


@dataclasses.dataclass(frozen=True)
class Exchange:
    """How devices share the work on a batch.

    Attributes:
        dtype: the type in which the gradients cross the wire.
        parts: the number of parts in which a device works through its images; it needs memory for
            one of them.
        average_statistics: average BatchNorm's running statistics over the devices, where these
            do not share the statistics of a batch anyway.
    """

    dtype: str = "float32"
    parts: int = 1
    average_statistics: bool = False


def make_gradient(
    detector: Detector,
    augmented: Callable[[Batch, Array], tuple[Array, Targets]],
    mesh: Mesh,
    frozen: PyTree,
    exchange: Exchange,
) -> Gradient:
    """Returns (params, batch_stats, batch, key) -> (gradients, batch_stats, loss terms).

    The loss is normalised by the positives of the whole batch, however it is split: the sums of the
    parts are added up before they are divided.

    Args:
        detector: what is trained.
        augmented: (batch, key) -> images and objects, by image.
        mesh: the devices that the batch is split over.
        frozen: a bool for every parameter; for the frozen ones the gradient is 0.
        exchange: how devices share the work.
    """

    def on_device(
        params: PyTree, batch_stats: PyTree, batch: Batch, key: Array
    ) -> tuple[PyTree, PyTree, _Sums]:
        leaves, tree = jax.tree.flatten(params)
        is_frozen = jax.tree.leaves(frozen)
        trained = [x for x, fixed in zip(leaves, is_frozen, strict=True) if not fixed]
        untrained = [x for x, fixed in zip(leaves, is_frozen, strict=True) if fixed]

        def complete(trained: list[Array], untrained: list[Array]) -> PyTree:
            values = {False: iter(trained), True: iter(untrained)}
            return tree.unflatten([next(values[fixed]) for fixed in is_frozen])

        def totals(
            trained: list[Array], batch_stats: PyTree, batch: Batch
        ) -> tuple[tuple[Array, ...], tuple[_Sums, PyTree]]:
            variables = {"params": complete(trained, untrained), "batch_stats": batch_stats}
            images, targets = augmented(batch, key)
            predictions, batch_stats = detector.apply(variables, images, train=True)
            sums = detector.loss_sums(predictions, targets)
            return tuple(terms.total for terms in sums), (sums, batch_stats)

        if exchange.parts == 1:
            _, pull, (sums, batch_stats) = jax.vjp(
                lambda x: totals(x, batch_stats, batch), trained, has_aux=True
            )
            sums = jax.lax.psum(sums, AXIS)
            [gradients] = pull(_weights(sums))
        else:
            each, sums, batch_stats = _in_parts(totals, trained, batch_stats, batch, exchange.parts)
            sums = jax.lax.psum(sums, AXIS)
            weights = _weights(sums)
            gradients = jax.tree.map(
                lambda *parts: sum(w * x for w, x in zip(weights, parts, strict=True)), *each
            )
        gradients = _sum_over_devices(gradients, jnp.dtype(exchange.dtype))
        if exchange.average_statistics:
            batch_stats = jax.lax.pmean(batch_stats, AXIS)
        return complete(gradients, [jnp.zeros_like(x) for x in untrained]), batch_stats, sums

    whole, split = PartitionSpec(), PartitionSpec(AXIS)
    gradient = jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=(whole, whole, split, whole),
        out_specs=whole,
        # Otherwise every constant that a loop of the ops starts from would have to be marked.
        check_vma=False,
    )

    def normalized(
        params: PyTree, batch_stats: PyTree, batch: Batch, key: Array
    ) -> tuple[PyTree, PyTree, Any]:
        gradients, batch_stats, sums = gradient(params, batch_stats, batch, key)
        return gradients, batch_stats, detector.normalize_loss(sums)

    return normalized


def _in_parts(
    totals: Callable, trained: list[Array], batch_stats: PyTree, batch: Batch, parts: int
) -> tuple[list[list[Array]], _Sums, PyTree]:
    """Returns the gradient of each of the loss's totals, the sums, and the batch statistics.

    What the totals are divided by is known after the last part alone, so each has a gradient.
    """
    batch = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), batch)

    def add_part(carry: tuple, part: Batch) -> tuple[tuple, None]:
        *sofar, batch_stats = carry
        values, pull, (sums, batch_stats) = jax.vjp(
            lambda x: totals(x, batch_stats, part), trained, has_aux=True
        )
        units = jnp.eye(len(values))
        each = [pull(tuple(unit))[0] for unit in units]
        return (*jax.tree.map(jnp.add, sofar, [each, sums]), batch_stats), None

    first = jax.tree.map(lambda x: x[0], batch)
    _, (sums, _) = jax.eval_shape(totals, trained, batch_stats, first)
    each = [jax.tree.map(jnp.zeros_like, trained) for _ in sums]
    sums = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), sums)
    return jax.lax.scan(add_part, (each, sums, batch_stats), batch)[0]


def _weights(sums: _Sums) -> tuple[Array, ...]:
    """Returns what each total counts for in the loss; see `Detector.loss_sums`."""
    return tuple(1 / jnp.maximum(terms.num_positives, 1) for terms in sums)


def _sum_over_devices(gradients: PyTree, dtype: jnp.dtype) -> PyTree:
    """Returns the sums of the gradients, which cross the wire in this type."""

    def sum_one(x: Array) -> Array:
        # Without a barrier the compilers sum first, in the type of the network, and cast then.
        wide = jax.lax.optimization_barrier(x.astype(dtype))
        return jax.lax.psum(wide, AXIS).astype(x.dtype)

    return jax.tree.map(sum_one, gradients)
