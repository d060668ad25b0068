"""MobileNet-SSD as released, SSDLite, and a small one that trains on a laptop.

    python -m launch.train --config configs/mobilenet_ssd.py:300,voc --workdir runs/mobilenet_ssd

Variants, joined by commas:
  300, lite             MobileNetV1 as released; SSDLite on MobileNetV2
  laptop                MobileNetV1 at full width and 192 pixels, for ImageNet's weights:
                        --config.init_from=mobilenet_v1_1.0_224.npz (TF-slim's names)
  small                 half width at 128 pixels
  voc, animals          the data set; see configs/ssd.py for how to prepare `animals`

or `practice`, for teaching: scenes of CIFAR-10 pictures, 64 x 64 on a canvas of 224 x 224:

    python -m launch.prepare --format image_folder_scenes --source cifar10 --name practice
    python -m launch.train --config configs/mobilenet_ssd.py:practice --workdir runs/practice \
      --config.loss.iou_threshold=0.3 --config.loss.localization=l2
"""

from ml_collections import ConfigDict

from ssd_jax.config import defaults, parse_variant, part
from ssd_jax.detectors.anchor_rules import ExplicitSizes, LinearScales
from ssd_jax.models.extras import Extras
from ssd_jax.models.heads import Heads
from ssd_jax.models.mobilenet_v1 import MobileNetV1
from ssd_jax.models.mobilenet_v2 import MobileNetV2
from ssd_jax.schedules import StepDecay

from . import ssd

# (1x1 channels, 3x3 channels, kernel, stride, padding) of conv14 and on, as released.
LAYERS = ((256, 512, 3, 2, 1), (128, 256, 3, 2, 1), (128, 256, 3, 2, 1), (64, 128, 3, 2, 1))

DATA = {"voc": ssd.voc, "animals": ssd.animals}


def get_config(variant: str = "300,voc") -> ConfigDict:
    if variant == "practice":
        return practice()
    choices = (tuple(NETWORKS), tuple(DATA))
    network, data = parse_variant(variant, "configs/mobilenet_ssd.py", *choices)
    config = defaults()
    config.name = f"mobilenet_ssd_{network}_{data}"
    NETWORKS[network](config)
    DATA[data](config)
    recipes = {"laptop": laptop_recipe, "small": small_recipe}
    recipes.get(network, released_recipe)(config)
    return config


def mobilenet_input(config: ConfigDict) -> None:
    config.input.update(mean=(127.5,) * 3, scale=(127.5,) * 3)


def released_network(config: ConfigDict) -> None:
    config.model.backbone = part(MobileNetV1())
    config.model.batch_norm = True
    config.model.extras = part(Extras(("conv11", "conv13"), (), LAYERS))  # maps 19, 10, 5, 3, 2, 1
    config.model.heads.kernels = (1,)
    config.anchors = part(
        ExplicitSizes(
            min_sizes=(60.0, 105.0, 150.0, 195.0, 240.0, 285.0),
            max_sizes=(0.0, 150.0, 195.0, 240.0, 285.0, 300.0),
            ratios=((2.0,), *((2.0, 3.0),) * 5),
        )
    )
    config.decoder.max_detections = 100
    mobilenet_input(config)


def lite_network(config: ConfigDict) -> None:
    released_network(config)
    config.model.backbone = part(MobileNetV2())
    config.model.extras = part(Extras(("block14_expand", "conv18"), (), LAYERS, "separable"))
    config.model.heads = part(Heads(separable=True))


def laptop_network(config: ConfigDict) -> None:
    """The settings of ImageNet's weights, at a size that two cores can fine-tune."""
    released_network(config)
    config.model.update(image_size=(192, 192), padding="same", batch_norm_epsilon=1e-3)
    config.model.extras.layers = LAYERS[:3]  # maps 12, 6, 3, 2, 1
    ratios = ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0,), (2.0,))
    config.anchors = part(LinearScales(s_min=0.2, s_max=0.9, ratios=ratios))


def small_network(config: ConfigDict) -> None:
    """Half the channels at 128 pixels, with a source of stride 8 for small objects."""
    config.model.backbone = part(MobileNetV1())
    config.model.update(image_size=(128, 128), width=0.5, batch_norm=True)
    # Maps 16, 8, 4, 2.
    config.model.extras = part(Extras(("conv5", "conv11", "conv13"), (), LAYERS[:1]))
    config.anchors = part(LinearScales(s_min=0.12, s_max=0.72, ratios=((2.0,),) * 4))
    mobilenet_input(config)


NETWORKS = {
    "300": released_network,
    "lite": lite_network,
    "laptop": laptop_network,
    "small": small_network,
}


def released_recipe(config: ConfigDict) -> None:
    config.optimizer.update(name="rmsprop", learning_rate=5e-4)
    config.optimizer.update(weight_decay=5e-5, bias_multiplier=1.0)
    config.optimizer.schedule = part(StepDecay((20_000, 40_000), 0.5))
    config.train.update(batch_size=24, steps=120_000)


def laptop_recipe(config: ConfigDict) -> None:
    """Fine-tuning: Adam and a cosine, and no expansion, which shrinks what 192 pixels show."""
    small_recipe(config)
    config.augment.expand = False
    config.optimizer.learning_rate = 1e-3
    config.train.update(batch_size=16, steps=1_600, eval_every=800, checkpoint_every=200)


def small_recipe(config: ConfigDict) -> None:
    ssd.small_recipe(config)
    config.train.batch_size = 32


def practice() -> ConfigDict:
    """Students vary one of `loss`'s fields: iou_threshold, localization, confidence."""
    config = defaults()
    config.name = "mobilenet_ssd_practice"
    small_network(config)
    small_recipe(config)
    config.model.image_size = (224, 224)
    config.model.extras = part(Extras(("conv11", "conv13"), ()))  # maps 14, 7
    # The first map has a second square of 64.
    config.anchors = part(ExplicitSizes((48.0, 96.0), (85.0, 160.0), ratios=((2.0,), (2.0,))))
    mirror_only(config)
    config.data.update(train="practice:train", eval="practice:val")
    config.data.update(canvas=(224, 224), max_objects=8)
    config.optimizer.learning_rate = 8e-3
    config.train.update(batch_size=16, steps=1_500, eval_every=0, checkpoint_every=500)
    return config


def mirror_only(config: ConfigDict) -> None:
    """Leaves flips alone: generated scenes are all different, and the network learns faster."""
    config.augment.update(photometric=False, expand=False, crop=False)
