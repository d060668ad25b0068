"""ParseNet's normalisation, which SSD puts on conv4_3."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from ssd_jax.models.depthwise import FeatureMap


class L2Norm(nn.Module):
    """Normalises each pixel's channels to unit length and scales them by learned factors.

    ParseNet's layer, as SSD uses it on conv4_3, whose features are larger than the later ones
    (SSD, section 3.1).
    """

    initial_scale: float = 20.0  # of every channel
    epsilon: float = 1e-10  # inside the root, as in the released code

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        """Returns the normalised features in the input's dtype, computed in float32."""
        scale = self.param("scale", nn.initializers.constant(self.initial_scale), (x.shape[-1],))
        wide = x.astype(jnp.float32)
        norm = jax.lax.rsqrt(jnp.sum(wide * wide, axis=-1, keepdims=True) + self.epsilon)
        return (wide * norm * scale).astype(x.dtype)
