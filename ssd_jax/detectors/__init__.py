"""Detectors: a network, its anchors, an objective and a decoder, each with its own settings."""

from ssd_jax.detectors.build import DETECTORS, anchor_spec, build
from ssd_jax.detectors.protocol import Detector

__all__ = ["DETECTORS", "Detector", "anchor_spec", "build"]
