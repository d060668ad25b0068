"""A comparison of systems on scenes of many small shapes, the same data and steps for each.

    bash launch/small_objects.sh

trains two backbones, then from them every variant with three seeds, and prints a table by size of
the objects; or one variant from random weights:

    python -m launch.prepare --format shapes --name small_shapes --image_size 128 \
      --object_size 0.08,0.4 --max_objects 10
    python -m launch.train --config configs/small_objects.py:refinedet --workdir runs/refinedet

Variants: ssd, refinedet, and refinedet without one of its three parts: no_filtering, no_cascade,
no_tcb. These are VGG16 with an eighth of the channels and BatchNorm on 128 pixels, read maps of 16,
8, 4 and 2 cells, and have anchors of the same smallest sizes. SSD has its own: a second square in
each cell, and an atrous fc7.

On a ResNet-50 with an eighth of the channels, with the same maps and SSD's anchors: ssd_resnet,
the same with DSSD's prediction module (pm), and with its deconvolution modules too (dm_product,
dm_sum).

pretrain_vgg16 and pretrain_resnet are ssd and ssd_resnet on the quickstart's scenes, whose objects
are larger. The other variants take only their backbone, where the papers take ImageNet's.
"""

from ml_collections import ConfigDict

from ssd_jax.config import defaults, parse_variant, part
from ssd_jax.detectors.anchor_rules import ExplicitSizes
from ssd_jax.models.deconvolution import Deconvolution
from ssd_jax.models.necks import NoNeck
from ssd_jax.models.resnet import ResNet
from ssd_jax.models.transfer_connections import TransferConnections

from . import dssd, mobilenet_ssd, refinedet, ssd

ON_VGG = ("ssd", "refinedet", "no_filtering", "no_cascade", "no_tcb")
ON_RESNET = ("ssd_resnet", "pm", "dm_product", "dm_sum")
PRETRAIN = ("pretrain_vgg16", "pretrain_resnet")
VARIANTS = (*ON_VGG, *ON_RESNET, *PRETRAIN)


def get_config(variant: str = "refinedet") -> ConfigDict:
    parse_variant(variant, "configs/small_objects.py", VARIANTS)
    config = defaults()
    config.name = f"small_objects_{variant}"
    if variant in ("ssd", "pretrain_vgg16"):
        ssd.small_network(config)
        config.model.extras.layers = ssd.LAYERS_300[:2]
    elif variant in (*ON_RESNET, "pretrain_resnet"):
        resnet_network(config, variant)
    else:
        refinedet.released_network(config, "vgg16")
        refinedet.small_network(config)
        config.model.negative_filtering = variant != "no_filtering"
        config.model.cascade = variant != "no_cascade"
        # 64 channels: with an eighth of the released 256 the heads read half as many as SSD's.
        neck = NoNeck() if variant == "no_tcb" else TransferConnections(512)
        config.model.neck = part(neck)
    config.model.update(image_size=(128, 128), width=0.125)
    second = (24.0, 48.0, 96.0, 128.0) if config.model.name == "ssd" else ()
    sizes = ExplicitSizes((12.0, 24.0, 48.0, 96.0), second, ratios=((2.0,),) * 4)
    config.anchors = part(sizes)
    ssd.small_recipe(config)
    config.optimizer.learning_rate = 4e-3
    mobilenet_ssd.mirror_only(config)
    config.data.update(train="small_shapes:train", eval="small_shapes:val")
    config.data.update(canvas=(128, 128), max_objects=10)
    config.train.update(steps=700, eval_every=0, checkpoint_every=350)
    config.init_only = ("backbone/*",)
    if variant in PRETRAIN:
        config.data.update(train="shapes:train", eval="shapes:val")
        config.optimizer.learning_rate = 8e-3
        config.train.steps = 6_000 if variant == "pretrain_resnet" else 2_500  # it learns slower
        config.init_only = ()
    return config


def resnet_network(config: ConfigDict, variant: str) -> None:
    dssd.resnet(config)
    config.model.backbone = part(ResNet(50, dilated_conv5=True))
    config.model.extras.sources = ("res3d", "res5c")
    config.model.extras.layers = dssd.RES6 * 2
    config.input.scale = (58.0, 57.0, 57.0)
    # The released .999 is for tens of thousands of steps.
    config.model.update(added_momentum=None, added_epsilon=None)
    if variant not in ("ssd_resnet", "pretrain_resnet"):
        config.model.heads.prediction_module = "c"
    if variant.startswith("dm_"):
        config.model.neck = part(Deconvolution(variant.removeprefix("dm_")))
