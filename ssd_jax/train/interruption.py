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
    """Turns SIGTERM, SIGHUP and Ctrl-C into a wish to save and stop.

    A second Ctrl-C or SIGTERM stops at once. SIGHUP comes when a terminal or a connection closes;
    where it is ignored, as under nohup, it stays ignored. A context manager: outside of it,
    signals are what they were.
    """

    def __enter__(self) -> "StopSignal":
        self._received = self._insisted = False
        self._previous: dict[int, Any] = {}
        # With several processes JAX's own handler of SIGTERM stands, because all of them have to
        # agree on the step; the other signals are passed on to it.
        several = jax.process_count() > 1
        numbers = (signal.SIGINT, signal.SIGHUP) + (() if several else (signal.SIGTERM,))
        # Python delivers signals to the main thread alone.
        if threading.current_thread() is threading.main_thread():
            for number in numbers:
                if signal.getsignal(number) != signal.SIG_IGN:
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
        # A closed terminal sends SIGHUP more than once, and SIGTERM after it.
        insists = self._insisted and number != signal.SIGHUP
        self._insisted |= number != signal.SIGHUP
        if insists:
            raise KeyboardInterrupt
        if self._received:
            return
        self._received = True
        if jax.process_count() > 1:
            signal.raise_signal(signal.SIGTERM)
        log.warning("Got %s: finishing the step and saving", signal.Signals(number).name)

    def requested(self, step: int) -> bool:
        """Returns whether to stop after this step: the same answer on every process."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._received
