"""Matching IoU, negatives for each positive, and the localisation loss: one at a time.

    python -m launch.sweep --sweep configs/sweeps/objective.py --workdir runs/objective

The first of each list is the paper's, and shared by all: settings that say the same are run once.
"""

from ssd_jax import sweeps

CONFIG = "configs/quickstart.py"
LISTS = {
    "config.loss.iou_threshold": (0.5, 0.3, 0.4, 0.6),
    "config.loss.confidence.negative_ratio": (3.0, 1.0, 5.0, 10.0),
    "config.loss.localization": ("smooth_l1", "l2"),
}


def get_sweep() -> list[sweeps.Overrides]:
    one_at_a_time = [
        setting for path, values in LISTS.items() for setting in sweeps.grid({path: values})
    ]
    return sweeps.product(one_at_a_time, sweeps.seeds(2))
