"""The paper's rule for the anchors' scales: its first by its last, on the quickstart.

    python -m launch.sweep --sweep configs/sweeps/scales.py --workdir runs/scales

15 settings and two seeds of each: 30 runs of 800 steps, about two minutes each on two idle cores.
"""

from ssd_jax import sweeps

CONFIG = "configs/quickstart.py"
COMMON = {
    "config.train.steps": 800,
    "config.train.eval_every": 0,
    "config.train.checkpoint_every": 200,
}


def get_sweep() -> list[sweeps.Overrides]:
    scales = sweeps.grid(
        {
            "config.anchors.s_min": (0.06, 0.09, 0.12, 0.18, 0.27),
            "config.anchors.s_max": (0.5, 0.72, 0.94),
        }
    )
    return sweeps.product(scales, sweeps.seeds(2))
