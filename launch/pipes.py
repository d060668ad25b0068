"""Commands whose reader may leave early, as with `| head`."""

import contextlib
import os
import select
import sys
from collections.abc import Iterator

# What a shell reports of a program that SIGPIPE ended: 128 + 13.
STATUS = 141


@contextlib.contextmanager
def reader_may_leave() -> Iterator[None]:
    """Ends the process with `STATUS` and without a word where the reader of its output has gone.

    Python ignores SIGPIPE, which is right while a run trains (its log has gone, the run has not)
    and for sockets; so it is the write that fails. Output that cannot be written for another
    reason, such as a full disk, is an error in a line.
    """
    try:
        try:
            yield
        except SystemExit as error:  # rich ends the program itself, with status 1
            if isinstance(error.__context__, BrokenPipeError):
                raise error.__context__ from None
            raise
        finally:
            _flush()
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        _discard_output()
        sys.exit(STATUS)


def _flush() -> None:
    """Writes what is buffered; the interpreter would do so only when it is too late."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _discard_output()
        print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
        sys.exit(1)


def _reader_is_gone() -> bool:
    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)
    # After rich has noticed it, standard output is the null device.
    return _is_discarded() or any(
        event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)
    )


def _is_discarded() -> bool:
    return os.path.samestat(os.fstat(1), os.stat(os.devnull))


def _discard_output() -> None:
    """Puts the null device in the place of standard output; buffered text goes there."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
