"""The SSD family of object detectors in JAX and Flax.

The names below are imported when they are first used. `ssd_jax.ops` needs JAX and numpy alone; the
others need the extra `train`.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

# What a person types first: the module, and the name in it where it is no module itself.
_LAZY = {
    "ops": ("ssd_jax.ops", ""),
    "config": ("ssd_jax.config", ""),
    "build": ("ssd_jax.detectors", "build"),
    "train": ("ssd_jax.train", ""),
    "evaluate": ("ssd_jax.evaluate", ""),
    "load": ("ssd_jax.checkpoints.trained", "load"),
    "Predictor": ("ssd_jax.predict", "Predictor"),
}

__all__ = ["Predictor", "build", "config", "evaluate", "load", "ops", "train"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'ssd_jax' has no attribute {name!r}")
    module, attribute = _LAZY[name]
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("ssd_jax"):
            raise
        raise ModuleNotFoundError(
            f"ssd_jax.{name} needs {error.name}, which comes with the extra `train`: "
            "pip install 'ssd_jax[train]'",
            name=error.name,
        ) from error
    value = getattr(found, attribute) if attribute else found
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
