"""The schedules of the learning rate that a config can name."""

import dataclasses

import optax

from ssd_jax.registry import Registry


@dataclasses.dataclass(frozen=True)
class StepDecay:
    """The released schedule: the rate falls at some steps.

    Attributes:
        boundaries: the steps at which it falls, rising.
        decay_factor: what it is multiplied by there.
    """

    boundaries: tuple[int, ...] = ()
    decay_factor: float = 0.1

    def __post_init__(self) -> None:
        """Refuses boundaries that do not rise."""
        if list(self.boundaries) != sorted(set(self.boundaries)):
            raise ValueError(f"StepDecay.boundaries: expected rising steps, got {self.boundaries}")

    def schedule(self, rate: float, total_steps: int) -> optax.Schedule:
        """Returns the rate by step, which starts at `rate`."""
        del total_steps
        return optax.piecewise_constant_schedule(
            rate, dict.fromkeys(self.boundaries, self.decay_factor)
        )


@dataclasses.dataclass(frozen=True)
class Cosine:
    """Half a cosine, from the rate to 0 at the run's end."""

    def schedule(self, rate: float, total_steps: int) -> optax.Schedule:
        """Returns the rate by step, which starts at `rate`."""
        return optax.cosine_decay_schedule(rate, total_steps)


SCHEDULES = Registry("schedule", {"step": StepDecay, "cosine": Cosine})
