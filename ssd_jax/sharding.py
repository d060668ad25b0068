"""One mesh axis, `data`: the state is replicated, a batch is split along its first axis.

What concerns one image runs inside `jax.shard_map`, within a device: left to the compiler, a loop
over a split batch asks all devices in every round whether it goes on.
"""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

AXIS = "data"


def data_mesh(devices: list[jax.Device] | None = None) -> Mesh:
    """Returns a one-axis mesh over the given devices (default: all devices of all processes)."""
    devices = jax.devices() if devices is None else devices
    # Auto axes: what is outside of a shard_map reads as for one device.
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a value that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def batch_split(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of an array whose first axis is split over the devices."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def num_shards() -> int:
    """Returns over how many devices the enclosing shard_map splits a batch; 1 outside of one."""
    try:
        return jax.lax.axis_size(AXIS)
    except NameError:
        return 1


def check_batch_size(mesh: Mesh, batch_size: int, field: str, *, parts: int = 1) -> None:
    """Raises a ValueError naming `field` if a batch does not divide over the mesh's devices.

    Args:
        mesh: the devices.
        batch_size: over all of them.
        field: the setting that has it.
        parts: in so many parts each device works through its images.
    """
    unit = mesh.size * parts
    if batch_size <= 0 or batch_size % unit:
        near = max(1, round(batch_size / unit)) * unit
        each = f" in {parts} parts each" if parts > 1 else ""
        raise ValueError(
            f"{field}: {batch_size} images do not divide over {mesh.size} devices{each}; "
            f"the nearest that does is {near}"
        )


def put_batch(mesh: Mesh, local_batch: PyTree) -> PyTree:
    """Moves this process's part of a batch to its devices, as one global array per leaf."""
    sharding = batch_split(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), local_batch)


def take_local(global_batch: PyTree) -> PyTree:
    """Returns this process's rows of global arrays, in numpy; the reverse of `put_batch`."""

    def rows(array: jax.Array) -> np.ndarray:
        shards = sorted(array.addressable_shards, key=lambda shard: shard.index[0].start or 0)
        return np.concatenate([shard.data for shard in shards])

    return jax.tree.map(rows, global_batch)
