"""SSD300 and SSD512 on VGG16, as released, and a small one for a laptop.

    python -m launch.train --config configs/ssd.py:300,voc --workdir runs/ssd300

Variants, joined by commas:
  300, 512 or small     the network
  voc, coco             the recipe of the paper on TFDS's own data sets
  bccd, animals         a VOC folder that launch.prepare read under that name:
                        --on_error skip for BCCD, which has two boxes without area;
                        --classes cat,cow,dog,horse,person,sheep --drop_others for VOC's animals
"""

from typing import Any

from ml_collections import ConfigDict

from ssd_jax.config import defaults, parse_variant, part
from ssd_jax.detectors.anchor_rules import LinearScales, Preset
from ssd_jax.models.extras import Extras
from ssd_jax.schedules import Cosine, StepDecay

NETWORKS = ("300", "512", "small")

# (1x1 channels, 3x3 channels, kernel, stride, padding) of conv8 and on, as released.
LAYERS_300 = ((256, 512, 3, 2, 1), (128, 256, 3, 2, 1), (128, 256, 3, 1, 0), (128, 256, 3, 1, 0))
LAYERS_512 = ((256, 512, 3, 2, 1), *((128, 256, 3, 2, 1),) * 3, (128, 256, 4, 1, 1))

# The anchors of SSD300 on VOC, field by field, for sweeps that change some: the min sizes of the
# six maps and the max size of the last, pixels; the ratios; the pixels between cells.
SIZES_300 = (30.0, 60.0, 111.0, 162.0, 213.0, 264.0, 315.0)
RATIOS_300 = ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0, 3.0), (2.0,), (2.0,))
STEPS_300 = (8.0, 16.0, 32.0, 64.0, 100.0, 300.0)


def get_config(variant: str = "300,voc") -> ConfigDict:
    network, data = parse_variant(variant, "configs/ssd.py", NETWORKS, tuple(DATA))
    config = defaults()
    config.name = f"ssd_{network}_{data}"
    if network == "small":
        small_network(config)
    else:
        released_network(config, network, "coco" if data == "coco" else "voc")
    released_recipe(config)
    DATA[data](config)
    if network == "small":
        small_recipe(config)
        if data == "bccd":
            small_bccd(config)
    return config


def released_network(config: ConfigDict, size: str, anchors: str) -> None:
    config.model.image_size = (int(size), int(size))
    config.model.extras.layers = LAYERS_300 if size == "300" else LAYERS_512
    config.anchors = part(Preset(f"ssd{size}_{anchors}"))


def explicit_anchors_300() -> dict[str, Any]:
    """Returns overrides that spell out the preset "ssd300_voc", but for its ratios."""
    return {
        "config.anchors": "sizes",
        "config.anchors.min_sizes": SIZES_300[:-1],
        "config.anchors.max_sizes": SIZES_300[1:],
        "config.anchors.steps": STEPS_300,
        "config.anchors.whole_pixels": True,
    }


def small_network(config: ConfigDict) -> None:
    """A quarter of the channels, BatchNorm in place of ImageNet's weights, five maps."""
    config.model.update(image_size=(192, 192), width=0.25, batch_norm=True)
    # BatchNorm already brings conv4_3 to the others' scale. Maps 24, 12, 6, 3, 1.
    config.model.extras = part(Extras(l2_norm=(), layers=LAYERS_300[:3]))
    ratios = ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0,), (2.0,))
    config.anchors = part(LinearScales(s_min=0.2, s_max=0.9, first_scale=0.1, ratios=ratios))
    config.input.scale = (58.0, 57.0, 57.0)


def released_recipe(config: ConfigDict) -> None:
    config.optimizer.learning_rate = 1e-3
    config.train.batch_size = 32


def voc(config: ConfigDict) -> None:
    config.data.update(train="voc/2007:trainval,voc/2012:trainval", eval="voc/2007:test")
    config.optimizer.schedule = part(StepDecay((80_000, 100_000)))
    config.train.steps = 120_000


def coco(config: ConfigDict) -> None:
    config.data.update(train="coco/2017:train", eval="coco/2017:validation")
    config.data.update(canvas=(640, 640), max_objects=100)
    config.optimizer.schedule = part(StepDecay((280_000, 360_000)))
    config.train.steps = 400_000


def bccd(config: ConfigDict) -> None:
    config.data.update(train="bccd:train", eval="bccd:test", canvas=(480, 640))
    config.optimizer.schedule = part(StepDecay((4_000, 5_000)))
    config.train.update(steps=6_000, eval_every=1_000)


def animals(config: ConfigDict) -> None:
    config.data.update(train="animals:train", eval="animals:val", canvas=(320, 320))
    config.optimizer.schedule = part(StepDecay((8_000, 10_000)))
    config.train.update(steps=12_000, eval_every=2_000)


DATA = {"voc": voc, "coco": coco, "bccd": bccd, "animals": animals}


def small_recipe(config: ConfigDict) -> None:
    """Adam and a cosine: from random weights SGD at the released rate learns too slowly."""
    config.optimizer.update(name="adam", learning_rate=2e-3, weight_decay=1e-4)
    config.optimizer.update(bias_multiplier=1.0, warmup_steps=100, clip_norm=10.0)
    config.optimizer.schedule = part(Cosine())
    config.train.update(batch_size=16, ema_decay=0.998)


def small_bccd(config: ConfigDict) -> None:
    """The pictures' own 3:4, boxes down to the platelets, and a budget of 40 CPU minutes."""
    config.model.image_size = (192, 256)  # maps 24 x 32, 12 x 16, 6 x 8, 3 x 4, 1 x 2
    if config.anchors.name == "linear":
        config.anchors.update(first_scale=0.07, s_min=0.15, s_max=0.7)
    config.augment.expand = False  # cells have one magnification
    config.train.update(steps=900, eval_every=450, checkpoint_every=150)
