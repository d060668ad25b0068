"""The systems on photographs, in one table.

    bash launch/compare.sh

trains every variant with every seed on VOC 2012's animals, from ImageNet's weights, and prints AP
by class; or one of them:

    python -m launch.train --config configs/photographs.py:ssd300 --workdir runs/ssd300 \
      --config.init_from=vgg16_conv_fp16_bgr.npz

Variants: mobilenet_ssd (192 pixels, made for a CPU), ssd300, ssd512, refinedet320, and SSD300 with
less augmentation: ssd300_flip (mirrored only) and ssd300_crop (photometric and crops, but no
expansion). Those on VGG16 want a GPU.
"""

from ml_collections import ConfigDict

from ssd_jax.config import parse_variant

from . import mobilenet_ssd, refinedet, ssd

ON_SSD300 = ("ssd300", "ssd300_flip", "ssd300_crop")
VARIANTS = ("mobilenet_ssd", *ON_SSD300, "ssd512", "refinedet320")


def get_config(variant: str = "ssd300") -> ConfigDict:
    parse_variant(variant, "configs/photographs.py", VARIANTS)
    if variant == "mobilenet_ssd":
        config = mobilenet_ssd.get_config("laptop,animals")
    elif variant == "refinedet320":
        config = refinedet.get_config("320,vgg16,animals")
    else:
        config = ssd.get_config("300,animals" if variant in ON_SSD300 else "512,animals")
    config.name = variant
    if variant == "ssd300_crop":
        config.augment.expand = False
    if variant == "ssd300_flip":
        mobilenet_ssd.mirror_only(config)
    config.train.eval_every = 0
    return config
