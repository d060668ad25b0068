"""The last step of every decoder, as a config describes it."""

from jaxtyping import Array, Float

from ssd_jax import config
from ssd_jax.ops import boxes, nms
from ssd_jax.types import Detections

# Of the boxes that vote on a detection, with it (Gidaris & Komodakis, "Object detection via a
# multi-region & semantic segmentation-aware CNN model", section 4).
VOTING_IOU = 0.5


def suppress(
    boxes_xyxy: Float[Array, "A 4"], scores: Float[Array, "A C"], spec: config.Decoder
) -> Detections:
    """Returns one image's detections; see `nms.multiclass_nms`."""
    return nms.multiclass_nms(
        boxes.clip(boxes_xyxy) if spec.clip_before_nms else boxes_xyxy,
        scores,
        score_threshold=spec.score_threshold,
        iou_threshold=spec.iou_threshold,
        pre_nms_top_k=spec.pre_nms_top_k,
        max_output=spec.max_detections,
        soft=spec.soft_nms,
        voting_iou=VOTING_IOU if spec.box_voting else None,
    )
