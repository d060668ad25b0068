"""The embedded default: a small MobileNet-SSD on scenes of shapes, minutes on a laptop.

    bash launch/quickstart.sh

or, step by step:

    python -m launch.prepare --format shapes --name shapes
    python -m launch.train --config configs/quickstart.py --workdir runs/quickstart
"""

from ml_collections import ConfigDict

from ssd_jax.config import defaults

from . import mobilenet_ssd


def get_config() -> ConfigDict:
    config = defaults()
    config.name = "quickstart"
    mobilenet_ssd.small_network(config)
    mobilenet_ssd.small_recipe(config)
    # Squares alone, since shapes are stretched by 1.5 at most: each head then sees more objects.
    config.anchors.ratios = ((), (), (), ())
    config.optimizer.learning_rate = 1e-2
    config.train.batch_size = 16
    mobilenet_ssd.mirror_only(config)
    config.data.update(train="shapes:train", eval="shapes:val")
    config.data.update(canvas=(256, 256), max_objects=8)
    config.train.update(steps=5_000, eval_every=2_500, checkpoint_every=400)
    return config
