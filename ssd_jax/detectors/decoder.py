"""From scored boxes to detections."""

import dataclasses

from jaxtyping import Array, Float

from ssd_jax.ops import boxes, nms
from ssd_jax.types import Detections

# Boxes with this IoU vote on a detection (Gidaris & Komodakis, "Object detection via a
# multi-region & semantic segmentation-aware CNN model", section 4).
VOTING_IOU = 0.5


@dataclasses.dataclass(frozen=True)
class Decoder:
    """The suppression, and the views of a picture that are tested.

    Attributes:
        score_threshold: a detection has a score above it.
        iou_threshold: a box is dropped whose IoU with a kept one of its class is above it.
        pre_nms_top_k: the candidates of each class.
        max_detections: the detections of a picture, over all classes.
        unreported: logits of imported weights that are no class here: they take part in the
            softmax and are never detected.
        clip_before_nms: clip boxes before the suppression, as torchvision does; otherwise only at
            the output.
        soft_nms: lower the scores of overlapped boxes (linear) and keep them.
        box_voting: average each detection with those that it suppressed.
        test_scales: factors of the input's size to test at; their detections are joined.
        test_flip: test on the mirrored picture, too.
    """

    score_threshold: float = 0.01
    iou_threshold: float = 0.45
    pre_nms_top_k: int = 400
    max_detections: int = 200
    unreported: tuple[int, ...] = ()
    clip_before_nms: bool = False
    soft_nms: bool = False
    box_voting: bool = False
    test_scales: tuple[float, ...] = (1.0,)
    test_flip: bool = False

    def __post_init__(self) -> None:
        """Refuses sizes that no picture can have."""
        if not self.test_scales or min(self.test_scales) <= 0:
            raise ValueError(
                f"Decoder.test_scales: expected factors above 0, got {self.test_scales}"
            )

    @property
    def several_views(self) -> bool:
        """Whether it asks for more than one view of a picture."""
        return self.test_flip or self.test_scales != (1.0,)

    def suppress(self, boxes_xyxy: Float[Array, "A 4"], scores: Float[Array, "A C"]) -> Detections:
        """Returns one image's detections; see `ops.nms.multiclass_nms`."""
        return nms.multiclass_nms(
            boxes.clip(boxes_xyxy) if self.clip_before_nms else boxes_xyxy,
            scores,
            score_threshold=self.score_threshold,
            iou_threshold=self.iou_threshold,
            pre_nms_top_k=self.pre_nms_top_k,
            max_output=self.max_detections,
            soft=self.soft_nms,
            voting_iou=VOTING_IOU if self.box_voting else None,
        )
