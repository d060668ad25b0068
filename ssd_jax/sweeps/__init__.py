"""Sweeps: what a sweep file is written with, the trials it plans, their runs and their report."""

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
