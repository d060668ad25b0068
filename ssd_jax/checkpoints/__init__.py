"""Runs and detectors on disk: what was trained, its config, and whether the files are whole."""
