"""What a gradient loses when it crosses the wire in bfloat16, for 8, 64 and 256 devices.

    PYTHONPATH=. python tests/train/wire.py [CONFIG [FLAG ...]]

The gradients of 256 images are computed one by one and summed as that many devices would: in
a ring, which rounds after every addition, and in a tree. Two halves of the images tell how much
a gradient differs from batch to batch.
"""

import sys

import jax
import ml_dtypes
import numpy as np

from launch import cli
from ssd_jax import sharding
from ssd_jax.train import freezing
from ssd_jax.train.gradient import Exchange, make_gradient
from ssd_jax.train.run import Run
from ssd_jax.train.step import augment_batch

IMAGES = 256


def main():
    experiment = cli.read_config(" ".join(sys.argv[1:] or ["configs/quickstart.py"]))
    run = Run.from_experiment(experiment, jax.devices()[:1])
    state = run.init()
    mask = freezing.is_frozen(state.params, ())
    gradient = jax.jit(
        make_gradient(
            run.detector,
            lambda batch, key: augment_batch(batch, key, run.augmentation),
            run.mesh,
            mask,
            Exchange(),
        )
    )
    each = []
    with run.batches() as batches:
        while len(each) < IMAGES:
            batch = next(batches)
            for row in range(len(batch.index)):
                one = jax.tree.map(lambda x, row=row: x[row : row + 1], batch)
                one = sharding.put_batch(run.mesh, one)
                found, _, terms = gradient(state.params, state.batch_stats, one, run.key)
                flat = np.concatenate([np.ravel(x) for x in jax.tree.leaves(jax.device_get(found))])
                each.append(flat * max(1.0, float(terms.num_positives)))
    each = np.stack(each[:IMAGES])
    exact = each.sum(axis=0, dtype=np.float64)
    norm = np.linalg.norm(exact)
    halves = each[::2].sum(axis=0, dtype=np.float64), each[1::2].sum(axis=0, dtype=np.float64)
    between = np.linalg.norm(halves[0] - halves[1]) / norm
    print(f"{experiment.name}: {each.shape[1]} parameters; two halves of the batch differ by")
    print(f"{between:.2e} of the gradient's norm")
    print("| devices | ring, bfloat16 | tree, bfloat16 | ring, float32 |")
    print("|---|---|---|---|")
    for devices in (8, 64, 256):
        parts = each.reshape(devices, -1, each.shape[1]).sum(axis=1)
        errors = [
            np.linalg.norm(np.asarray(total, np.float64) - exact) / norm
            for total in (
                ring(parts, ml_dtypes.bfloat16),
                tree(parts, ml_dtypes.bfloat16),
                ring(parts, np.float32),
            )
        ]
        print(f"| {devices} | " + " | ".join(f"{error:.1e}" for error in errors) + " |")


def ring(parts, dtype):
    total = parts[0].astype(dtype)
    for part in parts[1:]:
        total = total + part.astype(dtype)
    return total


def tree(parts, dtype):
    parts = parts.astype(dtype)
    while len(parts) > 1:
        parts = parts[::2] + parts[1::2]
    return parts[0]


if __name__ == "__main__":
    main()
