"""Trained runs and detectors on disk: their arrays, their configs and their integrity."""
