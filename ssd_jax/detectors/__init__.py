"""Detectors: a network, its anchors, an objective and a decoder, built from a config."""

from ssd_jax.detectors.build import build
from ssd_jax.detectors.folded import fold
from ssd_jax.detectors.protocol import Detector

__all__ = ["Detector", "build", "fold"]
