"""Pure functions on the arrays of one image; they import nothing but JAX and numpy."""

from ssd_jax.ops import (
    anchors,
    boxes,
    coding,
    crop,
    losses,
    matching,
    mining,
    nms,
    photometric,
    resample,
)

__all__ = [
    "anchors",
    "boxes",
    "coding",
    "crop",
    "losses",
    "matching",
    "mining",
    "nms",
    "photometric",
    "resample",
]
