"""An atrous fc6, or the whole VGG16 (SSD, table 2 and section 3.1).

    python -m launch.sweep --sweep configs/sweeps/atrous.py --workdir runs/atrous

Published for SSD300 without expansion, VOC07+12 on VOC07 test: 74.3 and 74.2. Without atrous pool5
halves the map, so that fc7 has 10 x 10 cells; conv5_3, with 19 x 19, is predicted from too, and the
last extra layer is left out. The maps, the anchors and their number are then the same.
"""

from ssd_jax import sweeps

from .. import ssd

CONFIG = "configs/ssd.py:300,voc"
COMMON = {"config.augment.expand": False}


def get_sweep() -> list[sweeps.Overrides]:
    return sweeps.named(
        {
            "atrous": {},
            "no_atrous": {
                "config.model.backbone.pool5_stride": 2,
                "config.model.backbone.fc6_dilation": 1,
                "config.model.extras.sources": ("conv4_3", "conv5_3", "fc7"),
                "config.model.extras.l2_norm": (20.0, 0.0, 0.0),
                "config.model.extras.layers": ssd.LAYERS_300[:3],
            },
        }
    )
