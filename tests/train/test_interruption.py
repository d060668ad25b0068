import signal

import pytest

from ssd_jax.train.interruption import StopSignal


@pytest.fixture(autouse=True)
def in_the_foreground():
    """Handlers as a terminal leaves them: what runs these tests may ignore some, as nohup does."""
    numbers = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
    handlers = (signal.default_int_handler, signal.SIG_DFL, signal.SIG_DFL)
    before = [signal.signal(*pair) for pair in zip(numbers, handlers, strict=True)]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_is_a_wish_to_stop(number):
    with StopSignal() as stop:
        assert not stop.requested(1)
        signal.raise_signal(number)
        assert stop.requested(2)


def test_a_second_one_stops_at_once_but_not_a_closed_terminals():
    with StopSignal() as stop:
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(number)
        assert stop.requested(1)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


def test_under_nohup_a_closed_terminal_is_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignal() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.requested(1)
    finally:
        signal.signal(signal.SIGHUP, before)
