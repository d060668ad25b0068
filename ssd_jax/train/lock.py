"""One run at a time in a workdir."""

import contextlib
import errno
import fcntl
import json
import logging
import os
import pathlib
import socket
import time
from collections.abc import Iterator

from ssd_jax.agreement import on_first_process

log = logging.getLogger(__name__)

# The name of the file, among the recent checkpoints.
LOCK = ".lock"

# How long a run waits for the lock: the data workers of a killed run need a moment to end.
_PATIENCE_SECONDS = 5.0

# What a disk answers that knows no locks.
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def only_run(path: pathlib.Path) -> Iterator[None]:
    """Holds a workdir's lock; the processes of one distributed run share it.

    The operating system releases the lock when its process ends, however it ends. Between hosts
    it is as good as their disk: NFS passes it on, some cluster disks do so only where they are
    mounted with `flock`, and one that knows no locks is reported and not waited for.

    Args:
        path: of the lock; it stays, since a file that is removed could be locked by two.

    Raises:
        ValueError: where another run holds it, saying which.
    """
    held: list[int] = []

    def take() -> None:
        held.append(_take(path))

    on_first_process(take)
    try:
        yield
    finally:
        for file in held:
            os.close(file)


def _take(path: pathlib.Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                log.warning("%s: no locks here (%s); start no second run there", path, error)
                return file
            if time.monotonic() > give_up:
                holder = os.read(file, 1000).decode(errors="replace")
                os.close(file)
                raise ValueError(
                    f"{path.parent.parent}: another run is at work here"
                    f"{_describe(holder)}; wait for it, stop it, or take another workdir"
                ) from None
            time.sleep(0.1)
    # Who holds it is for the message alone, and a full disk is no reason not to begin.
    with contextlib.suppress(OSError):
        os.ftruncate(file, 0)
        os.write(file, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode())
    return file


def _describe(holder: str) -> str:
    try:
        values = json.loads(holder)
        return f" (process {values['pid']} on {values['host']})"
    except (ValueError, KeyError, TypeError):
        return ""
