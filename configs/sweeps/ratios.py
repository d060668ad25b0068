"""What the aspect ratios are worth (SSD, table 2).

    python -m launch.sweep --sweep configs/sweeps/ratios.py --workdir runs/ratios

Published for SSD300 without expansion, VOC07+12 on VOC07 test: 74.3; without 3 and 1/3 73.7;
without 2 and 1/2 too 71.6.
"""

from ssd_jax import sweeps

from .. import ssd

CONFIG = "configs/ssd.py:300,voc"
COMMON = {**ssd.explicit_anchors_300(), "config.augment.expand": False}


def get_sweep() -> list[sweeps.Overrides]:
    return sweeps.named(
        {
            "all_ratios": {"config.anchors.ratios": ssd.RATIOS_300},
            "without_3": {"config.anchors.ratios": ((2.0,),) * 6},
            "without_3_and_2": {"config.anchors.ratios": ((),) * 6},
        }
    )
