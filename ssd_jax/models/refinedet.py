"""RefineDet's network: anchors are refined on the sources, then classified on richer maps.

Zhang et al., "Single-Shot Refinement Neural Network for Object Detection", figure 1.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ssd_jax.models.depthwise import FeatureMap
from ssd_jax.models.heads import Heads, read_boxes
from ssd_jax.models.style import Style
from ssd_jax.types import RefinedPredictions


class RefineDetModule(nn.Module):
    """The network of RefineDet: the anchor refinement module (ARM) and the detection module (ODM).

    The parameters of `maps` and of `neck` stand beside the heads' in the tree. Without both the
    cascade and the negative filtering there is no ARM.
    """

    maps: nn.Module  # images -> the ARM's maps; its name is part of the backbone's random keys
    neck: nn.Module  # the ARM's maps -> the ODM's
    heads: Heads  # released with prediction module "c" on ResNet-101
    boxes_per_cell: tuple[int, ...]  # of every map, in order
    num_classes: int  # C, background included
    cascade: bool  # the ARM moves the anchors
    negative_filtering: bool  # the ARM says which anchors hold no object
    style: Style  # of the prediction modules; the heads take its dtype

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
                read_boxes(x, values, f"arm{i}_{name}", *shape, heads.separable, style, train)
                for i, (x, shape) in enumerate(zip(arm, shapes, strict=True), start=1)
            ]
            return jnp.concatenate(each, axis=1)

        arm_offsets = refine("offsets", 4) if self.cascade else None
        arm_logits = refine("logits", 2) if self.negative_filtering else None

        odm = heads.before(self.neck(maps, train=train), "odm_pm", style, train)
        found = heads.predict(odm, self.boxes_per_cell, self.num_classes, style, train)
        return RefinedPredictions(arm_offsets, arm_logits, *found)
