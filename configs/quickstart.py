"""The embedded default: a small SSD on scenes of shapes, minutes on a laptop, no data needed.

    bash launch/quickstart.sh

or, step by step:

    python -m launch.prepare --format shapes --name shapes
    python -m launch.train --config configs/quickstart.py --workdir runs/quickstart
"""

from ml_collections import ConfigDict

from configs import ssd
from ssd_jax.config import defaults
from ssd_jax.models.ssd import SSD300_EXTRAS


def get_config() -> ConfigDict:
    config = defaults()
    config.name = "quickstart"
    ssd.small_network(config)
    ssd.small_recipe(config)
    config.model.image_size = (128, 128)
    config.model.extras = SSD300_EXTRAS[:2]  # maps 16, 8, 4, 2
    config.anchors.ratios = ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0,))
    config.anchors.s_max = 0.7
    config.augment.expand = False
    config.data.train = "shapes:train"
    config.data.eval = "shapes:val"
    config.data.canvas = (256, 256)
    config.data.max_objects = 8
    config.train.steps = 2_000
    config.train.eval_every = 1_000
    config.train.checkpoint_every = 500
    return config
