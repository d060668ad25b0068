"""Max pooling with Caffe's rounding."""

from flax import linen as nn

from ssd_jax.models.depthwise import FeatureMap


def max_pool(
    x: FeatureMap, *, window: int, stride: int, padding: int = 0, ceil: bool = True
) -> FeatureMap:
    """Max pooling; with Caffe's ceiling the last window may hang over the edge (75 -> 38)."""
    pads = []
    for size in x.shape[1:3]:
        extent = size + 2 * padding - window
        windows = (-(-extent // stride) if ceil else extent // stride) + 1
        # Caffe drops a last window that would begin beyond the picture and its left padding.
        if (windows - 1) * stride >= size + padding:
            windows -= 1
        pads.append((padding, max(0, (windows - 1) * stride + window - size - padding)))
    return nn.max_pool(x, (window, window), (stride, stride), pads)
