"""RefineDet's network: anchors are refined on the sources, then classified on richer maps.

Zhang et al., "Single-Shot Refinement Neural Network for Object Detection", figure 1.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ssd_jax.models.depthwise import FeatureMap
from ssd_jax.models.heads import BoxReader, Heads, MultiboxHead
from ssd_jax.models.style import Style
from ssd_jax.types import RefinedPredictions


class RefineDetModule(nn.Module):
    """The network of RefineDet.

    Attributes:
        maps: images -> the maps of the anchor refinement module (ARM); its parameters stand
            beside the heads' in the tree.
        neck: these maps -> those of the detection module (ODM); its parameters stand there, too.
        heads: the settings of the heads. Released with prediction module "c" on ResNet-101.
        boxes_per_cell: the default boxes in a cell of every map, in order.
        num_classes: C, background included.
        cascade: the ARM moves the anchors.
        negative_filtering: the ARM says which anchors hold no object. Without it and the cascade
            there is no ARM.
        style: the style of the prediction modules; the heads take its dtype.
    """

    maps: nn.Module  # its name is part of the random keys of the backbone
    neck: nn.Module
    heads: Heads
    boxes_per_cell: tuple[int, ...]
    num_classes: int
    cascade: bool
    negative_filtering: bool
    style: Style

    @nn.compact
    def __call__(self, images: FeatureMap, *, train: bool) -> RefinedPredictions:
        """Returns the predictions for every anchor: map by map, each in rows, columns, boxes."""
        nn.share_scope(self, self.maps)
        nn.share_scope(self, self.neck)
        heads, style = self.heads, self.style
        maps = self.maps(images, train=train)
        shapes = list(zip(self.boxes_per_cell, heads.kernels_of(len(maps)), strict=True))
        arm = heads.before(maps, "arm_pm", style, train)

        def refine(name: str, values: int) -> Float[Array, "B A values"]:
            each = [
                BoxReader(*shape, heads.separable, style)(x, values, f"arm{i}_{name}", train)
                for i, (x, shape) in enumerate(zip(arm, shapes, strict=True), start=1)
            ]
            return jnp.concatenate(each, axis=1)

        arm_offsets = refine("offsets", 4) if self.cascade else None
        arm_logits = refine("logits", 2) if self.negative_filtering else None

        odm = heads.before(self.neck(maps, train=train), "odm_pm", style, train)
        each = [
            MultiboxHead(k, self.num_classes, kernel, heads.separable, style, name=f"head{i}")(
                x, train=train
            )
            for i, (x, (k, kernel)) in enumerate(zip(odm, shapes, strict=True), start=1)
        ]
        offsets, logits = (jnp.concatenate(part, axis=1) for part in zip(*each, strict=True))
        return RefinedPredictions(arm_offsets, arm_logits, offsets, logits)
