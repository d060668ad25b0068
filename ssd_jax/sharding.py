"""One mesh axis, `data`: the state is replicated, a batch is split along its first axis."""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree


def data_mesh(devices: list[jax.Device] | None = None) -> Mesh:
    """Returns a one-axis mesh over the given devices (default: all devices of all processes)."""
    devices = jax.devices() if devices is None else devices
    # Auto axes: the compiler places the collectives, so the step reads as for one device.
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a value that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def batch_split(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of an array whose first axis is split over the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def check_batch_size(mesh: Mesh, batch_size: int, field: str) -> None:
    """Raises a ValueError naming `field` if a batch does not divide over the mesh's devices."""
    if batch_size <= 0 or batch_size % mesh.size:
        near = max(1, round(batch_size / mesh.size)) * mesh.size
        raise ValueError(
            f"{field}: {batch_size} images do not divide over {mesh.size} devices; "
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
