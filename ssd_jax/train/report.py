"""What a run says of itself: each step's figures, looked at a little after the step."""

import collections
import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from ssd_jax import config
from ssd_jax.train.metrics import TRAIN, MetricsWriter, duration
from ssd_jax.train.step import StepMetrics

log = logging.getLogger(__name__)

# Steps whose figures stay on the device, so that the host never waits for the newest one.
LAG = 2


class NonFiniteLossError(RuntimeError):
    """The loss or its gradient became NaN or infinite."""


class _Pending(NamedTuple):
    step: int
    metrics: StepMetrics
    index: np.ndarray


class Report:
    """Stops a run whose loss is not finite, and writes a line every `log_every` steps."""

    def __init__(
        self,
        spec: config.Train,
        writer: MetricsWriter,
        image_id: Callable[[int], str],
        *,
        window: Sequence[dict[str, float]] = (),
    ) -> None:
        """Prepares the report of a run.

        Args:
            spec: of the run.
            writer: receives the lines.
            image_id: the name of a record, for the report of a loss that is not finite.
            window: what `window` returned at the step from which the run resumes.
        """
        self._spec = spec
        self._writer = writer
        self._image_id = image_id
        self._pending: collections.deque[_Pending] = collections.deque()
        self._window = list(window)
        self._said_zero = False
        self._counted = 0  # steps since `_since`
        self._since: float | None = None  # None until the first step, which compiles, is done

    def add(self, step: int, metrics: StepMetrics, index: np.ndarray) -> None:
        """Takes a step's figures and the numbers of its records, and looks at an earlier step's.

        Raises:
            NonFiniteLossError: for a step at most LAG before this one.
        """
        self._pending.append(_Pending(step, metrics, index))
        if len(self._pending) > LAG:
            self._look(self._pending.popleft())

    def flush(self) -> None:
        """Looks at the figures of every step so far; raises as `add` does."""
        while self._pending:
            self._look(self._pending.popleft())

    def window(self) -> list[dict[str, float]]:
        """Returns the figures of the steps since the last line; the next line is their mean."""
        return list(self._window)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """A time that does not count in the images per second."""
        began = time.monotonic()
        yield
        if self._since is not None:
            self._since += time.monotonic() - began

    def _look(self, pending: _Pending) -> None:
        metrics = jax.device_get(pending.metrics)
        # A term that the network does not have is None.
        terms = metrics.loss._asdict().items()
        figures = {name: float(x) for name, x in terms if x is not None} | {
            "gradient_norm": float(metrics.gradient_norm),
            "learning_rate": float(metrics.learning_rate),
        }
        if not all(map(math.isfinite, figures.values())):
            parts = ", ".join(f"{name} {value:g}" for name, value in figures.items())
            images = ", ".join(self._image_id(int(i)) for i in pending.index)
            raise NonFiniteLossError(
                f"step {pending.step}: the loss is not finite ({parts}). Images of the batch: "
                f"{images}. The last checkpoint is untouched. A lower "
                "config.optimizer.learning_rate, a warm-up (config.optimizer.warmup_steps) or "
                "clipping (config.optimizer.clip_norm) usually helps."
            )
        self._window.append(figures)
        if self._since is None:
            self._since = time.monotonic()
        else:
            self._counted += 1
        if pending.step % self._spec.log_every == 0 or pending.step == self._spec.steps:
            self._print(pending.step)

    def _print(self, step: int) -> None:
        mean = {name: float(np.mean([w[name] for w in self._window])) for name in self._window[0]}
        seconds = time.monotonic() - (self._since or 0.0)
        rate = self._counted * self._spec.batch_size / seconds if self._counted else math.nan
        self._writer.scalars(step, TRAIN, {**mean, "images_per_second": rate})
        remaining = (self._spec.steps - step) * self._spec.batch_size / rate
        parts = "  ".join(
            f"{name} {value:.3f}" for name, value in mean.items() if name != "learning_rate"
        )
        log.info(
            "step %d/%d  %s  learning_rate %.2g  %s images/s  %s left",
            step,
            self._spec.steps,
            parts,
            mean["learning_rate"],
            f"{rate:.1f}" if self._counted else "?",
            duration(remaining) if self._counted else "?",
        )
        if mean["total"] == 0 and not self._said_zero:
            self._said_zero = True
            log.warning(
                "The loss of the last %d steps is 0, so nothing is learned: no anchor was matched "
                "to an object. Are the pictures of this batch annotated, and do the anchors cover "
                "their objects (python -m launch.anchors)?",
                len(self._window),
            )
        self._window.clear()
        self._counted, self._since = 0, time.monotonic()
