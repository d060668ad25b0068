"""The prediction modules before the heads (DSSD, figure 2 and table 4).

    python -m launch.sweep --sweep configs/sweeps/prediction_modules.py --workdir runs/modules

Published for SSD321, VOC07+12 on VOC07 test: without a module (a) 76.4, with (c) 77.1.
On a laptop: --config configs/small_objects.py:ssd_resnet.
"""

from ssd_jax import sweeps

CONFIG = "configs/dssd.py:321,voc,ssd"


def get_sweep() -> list[sweeps.Overrides]:
    return sweeps.grid({"config.model.heads.prediction_module": ("a", "b", "c", "d")})
