"""Sweeps: each a file with get_sweep(), for launch.sweep; see ssd_jax/sweeps/overrides.py."""
