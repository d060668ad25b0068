"""A run asked to stop saves first."""

import logging
import signal
import threading
import types
from typing import Any

import jax
from jax.experimental import multihost_utils

log = logging.getLogger(__name__)


class StopSignal:
    """Turns SIGTERM and Ctrl-C into a wish to save and stop; a second Ctrl-C stops at once.

    A context manager: outside of it, signals are what they were.
    """

    def __enter__(self) -> "StopSignal":
        self._received = False
        self._previous: dict[int, Any] = {}
        # Python delivers signals to the main thread alone. With several processes JAX's own
        # handler of SIGTERM stands, because all of them have to agree on the step.
        if threading.current_thread() is threading.main_thread() and jax.process_count() == 1:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: types.FrameType | None) -> None:
        if self._received:
            raise KeyboardInterrupt
        self._received = True
        log.warning("Got %s: finishing the step and saving", signal.Signals(number).name)

    def requested(self, step: int) -> bool:
        """Returns whether to stop after this step: the same answer on every process."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._received
