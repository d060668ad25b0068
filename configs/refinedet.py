"""RefineDet320 and RefineDet512 on VGG16 and ResNet-101, as released, and a small one for a laptop.

    python -m launch.train --config configs/refinedet.py:320,vgg16,voc --workdir runs/refinedet

Variants, joined by commas:
  320, 512 or small                   the network
  vgg16, resnet101                    its backbone
  voc, coco, bccd, animals            the data set; see configs/ssd.py

The paper keeps 200 of 400 candidates where the released code keeps 500 of 1000:
--config.decoder.pre_nms_top_k=400 --config.decoder.max_detections=200. Its "+" rows:
--config.decoder.test_scales=0.6,1.0,1.8 --config.decoder.test_flip --config.decoder.box_voting.
Its ablation: --config.model.negative_filtering=False, .cascade=False, .neck=none.
"""

from ml_collections import ConfigDict

from ssd_jax.config import defaults, parse_variant, part
from ssd_jax.detectors.anchor_rules import ExplicitSizes
from ssd_jax.detectors.refinedet import RefineDet
from ssd_jax.models.extras import Extras
from ssd_jax.models.heads import Heads
from ssd_jax.models.resnet import ResNet
from ssd_jax.models.vgg import VGG16

from . import dssd, ssd

# (1x1 channels, 3x3 channels, kernel, stride, padding) of conv6_1 and conv6_2, as released.
LAYERS_VGG16 = ((256, 512, 3, 2, 1),)

NETWORKS = ("320", "512", "small")
BACKBONES = ("vgg16", "resnet101")


def get_config(variant: str = "320,vgg16,voc") -> ConfigDict:
    choices = (NETWORKS, BACKBONES, tuple(ssd.DATA))
    network, backbone, data = parse_variant(variant, "configs/refinedet.py", *choices)
    config = defaults()
    config.name = f"refinedet_{network}_{backbone}_{data}"
    released_network(config, backbone)
    ssd.released_recipe(config)
    ssd.DATA[data](config)
    if network == "small":
        small_network(config)
        ssd.small_recipe(config)
        if data == "bccd":
            small_bccd(config)
    else:
        config.model.image_size = (int(network), int(network))
    return config


def released_network(config: ConfigDict, backbone: str) -> None:
    """Four maps, each half the one before: 40, 20, 10, 5 at 320 pixels."""
    if backbone == "vgg16":
        sources, l2_norm = ("conv4_3", "conv5_3", "fc7"), (10.0, 8.0, 0.0)
        model = RefineDet(
            backbone=VGG16(pool5_stride=2, fc6_dilation=3),
            extras=Extras(sources, l2_norm, LAYERS_VGG16),
        )
    else:
        model = RefineDet(
            backbone=ResNet(),
            batch_norm=True,
            extras=Extras(("res3b3", "res4b22", "res5c"), (), dssd.RES6, "bottleneck"),
            heads=Heads(prediction_module="c"),
        )
    config.model = part(model)
    config.anchors = part(ExplicitSizes((32.0, 64.0, 128.0, 256.0), ratios=((2.0,),) * 4))
    config.decoder.update(pre_nms_top_k=1000, max_detections=500)


def small_network(config: ConfigDict) -> None:
    """A quarter of the channels, and BatchNorm in place of ImageNet's weights."""
    # Maps 24, 12, 6, 3.
    config.model.update(image_size=(192, 192), width=0.25, batch_norm=True)
    config.model.extras.l2_norm = ()
    config.anchors.min_sizes = (20.0, 40.0, 80.0, 160.0)
    config.decoder.update(pre_nms_top_k=400, max_detections=200)
    config.input.scale = (58.0, 57.0, 57.0)


def small_bccd(config: ConfigDict) -> None:
    """The pictures' own 3:4, the small SSD's budget, and anchors for cells.

    With one square on each map those of the small network reach 80% of the objects at IoU .5;
    these, near what `launch.anchors --kmeans` proposes, reach 96%.
    """
    ssd.small_bccd(config)
    config.anchors.min_sizes = (16.0, 42.0, 68.0, 96.0)  # maps 24 x 32, 12 x 16, 6 x 8, 3 x 4
    config.anchors.ratios = ((1.4,),) * 4
