"""Flax modules, the only ones of the project: no loss, no anchors, no suppression."""
