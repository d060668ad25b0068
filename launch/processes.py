"""Commands that run as several processes: how they join, and how they leave."""

import contextlib
import inspect
import logging
import os
import re
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn

import jax
from absl import flags

from ssd_jax.agreement import lost_another_process
from ssd_jax.checkpoints.folders import first_line

from . import cli

log = logging.getLogger("ssd_jax")

# How long JAX waits for all processes to join.
_JOIN_SECONDS = 300

# JAX ends the processes a moment after a lost one is due.
_MARGIN_SECONDS = 15.0

_LAST_WORDS_SECONDS = 2.0

# The flags that JAX finds out by itself on a cluster that it knows.
_PLACE = ("coordinator_address", "num_processes", "process_id")


def define() -> None:
    """Defines --distributed and the flags that go with it."""
    flags.DEFINE_string("coordinator_address", None, "HOST:PORT of process 0; any free port of it.")
    flags.DEFINE_integer("num_processes", None, "How many processes take part.", lower_bound=1)
    flags.DEFINE_integer("process_id", None, "The number of this one, from 0.", lower_bound=0)
    flags.DEFINE_integer(
        "heartbeat_timeout",
        60,
        "Seconds without a sign of life after which a process counts as dead and the others end.",
        lower_bound=5,
    )
    flags.DEFINE_bool(
        "distributed",
        False,
        "Run as several processes. On a TPU pod, under SLURM and Open MPI 4, and on Kubernetes "
        "with jax[k8s] the rest is found out; elsewhere give --coordinator_address, "
        "--num_processes and --process_id.",
    )


@contextlib.contextmanager
def joined(*, saves_on_sigterm: bool = False) -> Iterator[None]:
    """Joins the other processes where --distributed asks for it, and leaves them on an error.

    Before JAX is used.

    Args:
        saves_on_sigterm: whether the command asks JAX for SIGTERM, as `StopSignal` does. JAX takes
            that signal, and what does not ask for it would go on.

    Raises:
        ValueError: where the flags, or what JAX finds out, do not say how to join.
    """
    values = flags.FLAGS
    if not values.distributed:
        for name in (*_PLACE, "heartbeat_timeout"):
            if values[name].present:
                raise ValueError(f"--{name} is for several processes: give --distributed, too")
        yield
        return
    _join()
    if not saves_on_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if jax.process_count() == 1:
            raise
        _leave(error)


def _join() -> None:
    values = flags.FLAGS
    given = {name: values[name].value for name in _PLACE if values[name].value is not None}
    address = given.get("coordinator_address")
    if address is not None and not re.fullmatch(r".+:\d+", address):
        raise ValueError(f"--coordinator_address: expected HOST:PORT, got {address!r}")
    log.info(
        "Joining%s; JAX ends this process where the others are not there within %d s",
        "".join(f" --{name}={value}" for name, value in given.items()) or " the cluster",
        _JOIN_SECONDS,
    )
    settings: dict[str, Any] = {"initialization_timeout": _JOIN_SECONDS}
    if "heartbeat_timeout_seconds" in inspect.signature(jax.distributed.initialize).parameters:
        settings["heartbeat_timeout_seconds"] = values.heartbeat_timeout
    try:
        jax.distributed.initialize(**given, **settings)
    except ValueError as error:
        missing = [f"--{name}" for name in _PLACE if name not in given]
        if not missing:
            raise ValueError(f"--distributed: {error}") from error
        raise ValueError(
            f"--distributed: {str(error).rstrip('.')}, and JAX sees no TPU pod, no step of SLURM "
            "(srun), no Open MPI 4 (mpirun) and no Kubernetes job (with jax[k8s]) that would say. "
            f"Give {', '.join(missing)}"
        ) from error
    except RuntimeError as error:  # of Kubernetes, at length: with what its account may not read
        raise ValueError(f"--distributed: {error}") from error
    number, count = jax.process_index(), jax.process_count()
    for handler in logging.getLogger().handlers:
        handler.setFormatter(
            logging.Formatter(f"%(asctime)s process {number}: %(message)s", datefmt="%H:%M:%S")
        )
    log.info(
        "This is process %d of %d, on %s, with %d of %d devices: %s",
        *(number, count, socket.gethostname(), jax.local_device_count(), jax.device_count()),
        ", ".join(map(str, jax.local_devices())),
    )
    if number:
        log.setLevel(logging.WARNING)


def _leave(error: BaseException) -> NoReturn:
    """Ends one of several processes after an error, so that none of the others waits for it.

    JAX would hold it until all the others end, too, and they may be waiting for it.
    """
    lost = lost_another_process(error)
    if lost:
        wait = flags.FLAGS.heartbeat_timeout + _MARGIN_SECONDS
        print(
            f"error: process {jax.process_index()} of {jax.process_count()} has lost another one, "
            f"which has failed or was killed. JAX names it below within {wait:.0f} s, and its log "
            "says why. The same command, for all of them, goes on from the last checkpoint. "
            f"Here: {first_line(error)}",
            file=sys.stderr,
        )
    elif isinstance(error, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    elif isinstance(error, cli.USER_ERRORS) and not cli.DEBUG.value:
        print(f"error: {error}", file=sys.stderr)
    else:
        traceback.print_exception(error)
    sys.stdout.flush()
    sys.stderr.flush()
    if lost:
        time.sleep(wait)
    elif jax.process_index() == 0:
        # The others end as soon as this one is gone; they may have something to say first.
        time.sleep(_LAST_WORDS_SECONDS)
    os._exit(cli.INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1)
