"""DSSD321 and DSSD513 on ResNet-101, as released, in the paper's three stages.

    bash launch/dssd.sh 321,voc runs/dssd321

runs them one after the other, each from the last one's checkpoint. By hand:

    python -m launch.train --config configs/dssd.py:321,voc,ssd --workdir runs/dssd321/ssd
    python -m launch.train --config configs/dssd.py:321,voc,dssd --workdir runs/dssd321/dssd \
      --config.init_from=runs/dssd321/ssd
    python -m launch.train --config configs/dssd.py:321,voc,finetune \
      --workdir runs/dssd321/finetune --config.init_from=runs/dssd321/dssd

Variants, joined by commas:
  321, 513            the network
  voc, coco           the recipe of the paper on TFDS's own data sets
  ssd                 stage 1: SSD321 or SSD513, with prediction modules
  dssd                stage 2: the deconvolution modules and what follows; SSD's part is frozen
  finetune            stage 3: everything, but for BatchNorm

Boxes: the paper's 321 is for VOC and its 513 for COCO. The other two take the fractions of SSD512
on VOC and SSD300 on COCO. Cells have their centres at .5; the released prototxts carry offsets in
pixels by mistake, which put most boxes outside of the picture.
"""

from ml_collections import ConfigDict

from ssd_jax.config import defaults, parse_variant, part
from ssd_jax.detectors.anchor_rules import ExplicitSizes
from ssd_jax.models.deconvolution import Deconvolution
from ssd_jax.models.extras import Extras
from ssd_jax.models.heads import Heads
from ssd_jax.models.resnet import ResNet
from ssd_jax.schedules import StepDecay

from . import ssd

# Bottlenecks after ResNet-101: channels of the inner and of the last convolutions, and the first
# ones' kernel, stride and padding. RefineDet's res6, and DSSD's res6 and on.
RES6 = ((256, 1024, 2, 2, 0),)
LAYERS_321 = (*RES6 * 2, *((256, 1024, 3, 1, 0),) * 2)
LAYERS_513 = RES6 * 5

NETWORKS = ("321", "513")
DATA = ("voc", "coco")
STAGES = ("ssd", "dssd", "finetune")

# Min sizes of the maps and the last one's max size, as fractions of the input.
FRACTIONS = {
    ("321", "voc"): (0.1, 0.2, 0.38, 0.56, 0.74, 0.92, 1.1),
    ("321", "coco"): (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05),
    ("513", "voc"): (0.07, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.05),
    ("513", "coco"): (0.04, 0.1, 0.27, 0.44, 0.61, 0.78, 0.95, 1.12),
}


def get_config(variant: str = "321,voc,ssd") -> ConfigDict:
    network, data, stage = parse_variant(variant, "configs/dssd.py", NETWORKS, DATA, STAGES)
    config = defaults()
    config.name = f"dssd_{network}_{data}_{stage}"
    resnet(config)
    size = int(network)
    config.model.image_size = (size, size)
    config.model.extras.layers = LAYERS_321 if network == "321" else LAYERS_513
    num_maps = 2 + len(config.model.extras.layers)
    config.model.heads = part(Heads((5, 5) + (3,) * (num_maps - 2), prediction_module="c"))
    sizes = [round(size * fraction, 2) for fraction in FRACTIONS[network, data]]
    steps = (8, 16, 32, 64, 64, 321) if network == "321" else (8, 16, 32, 64, 128, 256, 513)
    config.anchors = part(
        ExplicitSizes(
            min_sizes=tuple(sizes[:-1]),
            max_sizes=tuple(sizes[1:]),
            ratios=((1.6, 2.0, 3.0),) * num_maps,
            steps=tuple(map(float, steps)),
        )
    )
    if stage != "ssd":
        config.model.neck = part(Deconvolution())
    ssd.DATA[data](config)
    recipe(config, data, stage)
    return config


def resnet(config: ConfigDict) -> None:
    """Two maps of ResNet-101, the second dilated, for bottlenecks to follow."""
    config.model.backbone = part(ResNet(dilated_conv5=True))
    config.model.batch_norm = True
    config.model.extras = part(Extras(("res3b3", "res5c"), (), form="bottleneck"))
    config.model.update(added_momentum=0.999, added_epsilon=1e-3)


def recipe(config: ConfigDict, data: str, stage: str) -> None:
    schedules = {
        ("voc", "ssd"): (80_000, (40_000, 60_000)),
        ("voc", "dssd"): (30_000, (20_000,)),
        ("voc", "finetune"): (40_000, (20_000,)),
        ("coco", "ssd"): (250_000, (130_000, 210_000)),
        ("coco", "dssd"): (150_000, (80_000, 130_000)),
        ("coco", "finetune"): (40_000, (20_000,)),  # not in the paper
    }
    config.train.steps, boundaries = schedules[data, stage]
    config.optimizer.schedule = part(StepDecay(boundaries))
    config.train.batch_size = 32 if data == "voc" else 40
    config.optimizer.learning_rate = 1e-4 if stage == "finetune" else 1e-3
    config.init_partial = stage == "dssd"  # its heads read fewer channels than stage 1's
    if stage == "dssd":
        config.optimizer.frozen = ("backbone/*", "extra*")
        config.model.freeze_batch_norm = "maps"
    if stage == "finetune":
        config.optimizer.frozen = ("*/bn/*",)
        config.model.freeze_batch_norm = "everywhere"
