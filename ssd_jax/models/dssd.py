"""DSSD: SSD whose maps are enlarged again and joined from the deepest up (DSSD, figure 1)."""

from collections.abc import Sequence

from ssd_jax.models.deconvolution import DeconvolutionModule
from ssd_jax.models.layers import FeatureMap, scale_channels
from ssd_jax.models.ssd import SSD


class DSSD(SSD):
    """SSD with deconvolution modules between its maps and its heads.

    Attributes:
      combination: of the modules' two paths, "product" or "sum".
      channels: of the modules.
    """

    combination: str = "product"
    channels: int = 512

    def decode(self, maps: Sequence[FeatureMap], *, train: bool) -> Sequence[FeatureMap]:
        """Returns a map for each of SSD's; the deepest is SSD's own."""
        channels = scale_channels(self.channels, self.width)
        results = [maps[-1]]
        for i in range(len(maps) - 1, 0, -1):
            module = DeconvolutionModule(
                channels, self.combination, self.style, name=f"deconvolution{i}"
            )
            results.insert(0, module(maps[i - 1], results[0], train=train))
        return results
