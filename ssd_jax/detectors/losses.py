"""The parts of the multibox loss that a config can choose.

A confidence loss has `loss(logits, labels)`, `scores(logits)` and `negative_ratio`; a localisation
loss has `loss(errors)`.
"""

import dataclasses
from typing import ClassVar

import jax
from jaxtyping import Array, Float, Int

from ssd_jax.ops import losses
from ssd_jax.registry import Registry


@dataclasses.dataclass(frozen=True)
class Softmax:
    """Softmax cross-entropy with hard negative mining (SSD, section 2.2).

    Attributes:
        negative_ratio: how many negatives are kept for each positive.
    """

    negative_ratio: float = 3.0

    def loss(self, logits: Float[Array, "A C"], labels: Int[Array, " A"]) -> Float[Array, " A"]:
        """Returns the loss of every anchor."""
        return losses.softmax_cross_entropy(logits, labels)

    def scores(self, logits: Float[Array, "A C"]) -> Float[Array, "A C"]:
        """Returns the probabilities of the classes."""
        return jax.nn.softmax(logits)


@dataclasses.dataclass(frozen=True)
class Focal:
    """The focal loss of the softmax, over every negative; see `ops.losses.focal`.

    Attributes:
        alpha: the weight of objects; background has 1 - alpha.
        gamma: the exponent that takes weight from easy examples.
    """

    alpha: float = 0.25
    gamma: float = 2.0
    negative_ratio: ClassVar[None] = None

    def __post_init__(self) -> None:
        """Refuses values out of range."""
        if not (0 <= self.alpha <= 1 and self.gamma >= 0):
            raise ValueError(
                "Focal.alpha: expected alpha in [0, 1] and gamma >= 0, got "
                f"{self.alpha} and {self.gamma}"
            )

    def loss(self, logits: Float[Array, "A C"], labels: Int[Array, " A"]) -> Float[Array, " A"]:
        """Returns the loss of every anchor."""
        return losses.focal(logits, labels, alpha=self.alpha, gamma=self.gamma)

    def scores(self, logits: Float[Array, "A C"]) -> Float[Array, "A C"]:
        """Returns the probabilities of the classes."""
        return jax.nn.softmax(logits)


@dataclasses.dataclass(frozen=True)
class SmoothL1:
    """The released localisation loss; see `ops.losses.smooth_l1`."""

    def loss(self, errors: Float[Array, "A 4"]) -> Float[Array, "A 4"]:
        """Returns the loss of every number."""
        return losses.smooth_l1(errors)


@dataclasses.dataclass(frozen=True)
class L2:
    """Half the square of the error; see `ops.losses.l2`."""

    def loss(self, errors: Float[Array, "A 4"]) -> Float[Array, "A 4"]:
        """Returns the loss of every number."""
        return losses.l2(errors)


CONFIDENCE_LOSSES = Registry("confidence loss", {"softmax": Softmax, "focal": Focal})
LOCALIZATION_LOSSES = Registry("localization loss", {"smooth_l1": SmoothL1, "l2": L2})
