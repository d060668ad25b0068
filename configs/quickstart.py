"""The embedded default: a small MobileNet-SSD on scenes of shapes, minutes on a laptop, no data.

    bash launch/quickstart.sh

or, step by step:

    python -m launch.prepare --format shapes --name shapes
    python -m launch.train --config configs/quickstart.py --workdir runs/quickstart
"""

from ml_collections import ConfigDict

from configs import mobilenet_ssd
from ssd_jax.config import defaults


def get_config() -> ConfigDict:
    config = defaults()
    config.name = "quickstart"
    mobilenet_ssd.small_network(config)
    mobilenet_ssd.small_recipe(config)
    config.augment.expand = False
    config.augment.min_crop_scale = 0.5
    config.data.train = "shapes:train"
    config.data.eval = "shapes:val"
    config.data.canvas = (256, 256)
    config.data.max_objects = 8
    config.train.steps = 2_000
    config.train.eval_every = 1_000
    config.train.checkpoint_every = 500
    return config
