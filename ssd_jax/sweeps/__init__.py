"""Sweeps: the vocabulary of sweep files, the trials they plan, their runs and their report."""

from ssd_jax.sweeps.overrides import (
    SEED,
    Overrides,
    choice,
    grid,
    integers,
    log_uniform,
    named,
    product,
    random,
    seeds,
    sobol,
    uniform,
    zipped,
)

__all__ = [
    "SEED",
    "Overrides",
    "choice",
    "grid",
    "integers",
    "log_uniform",
    "named",
    "product",
    "random",
    "seeds",
    "sobol",
    "uniform",
    "zipped",
]
