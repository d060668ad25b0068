"""The necks that a config can name; a neck stands between the sources and the heads."""

import dataclasses
from collections.abc import Sequence

from flax import linen as nn

from ssd_jax.models.deconvolution import Deconvolution
from ssd_jax.models.depthwise import FeatureMap
from ssd_jax.models.style import Style
from ssd_jax.models.transfer_connections import TransferConnections
from ssd_jax.registry import Registry


@dataclasses.dataclass(frozen=True)
class NoNeck:
    """SSD's: the heads read the sources themselves."""

    def module(self, style: Style) -> nn.Module:
        """Returns the network, maps -> the same maps."""
        del style
        return Unchanged()


class Unchanged(nn.Module):
    """The network of `NoNeck`."""

    @nn.compact
    def __call__(self, maps: Sequence[FeatureMap], *, train: bool) -> list[FeatureMap]:
        """Returns the maps as they are."""
        del train
        return list(maps)


NECKS = Registry(
    "neck",
    {
        "none": NoNeck,
        "deconvolution": Deconvolution,
        "transfer_connections": TransferConnections,
    },
)
