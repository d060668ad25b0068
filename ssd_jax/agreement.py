"""What the first process decides for all of them, and what they send to it."""

import json
import re
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

T = TypeVar("T")

# How JAX's errors begin where a collective has failed. RESOURCE_EXHAUSTED and INVALID_ARGUMENT are
# a process's own.
_FAILED = re.compile(r"(UNKNOWN|INTERNAL|UNAVAILABLE|ABORTED|CANCELLED|DEADLINE_EXCEEDED): ")


def lost_another_process(error: BaseException | None) -> bool:
    """Returns whether an error says that another process of this run has left it.

    What waits for that process then waits for ever.
    """
    # What fails while an array is fetched is a ValueError.
    is_jax = isinstance(error, jax.errors.JaxRuntimeError | ValueError)
    return is_jax and jax.process_count() > 1 and bool(_FAILED.match(str(error).strip()))


def on_first_process(action: Callable[[], T]) -> T:
    """Calls `action` on the first process and returns its result on every one.

    All processes call this at the same place. One of them alone looks at a shared disk, which
    others may see at another moment, and an error of its is an error of all: nobody waits for a
    process that has left.

    Args:
        action: returns something that JSON can hold.

    Raises:
        ValueError, OSError: what `action` raised; on the other processes with the same text.
    """
    if jax.process_count() == 1:
        return action()
    outcome, raised = {}, None
    if jax.process_index() == 0:
        try:
            outcome = {"value": action()}
        except (ValueError, OSError) as error:
            outcome, raised = {"error": str(error)}, error
    text = np.frombuffer(json.dumps(outcome).encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    padded = np.zeros(length, np.uint8)
    padded[: len(text)] = text[:length]
    outcome = json.loads(np.asarray(multihost_utils.broadcast_one_to_all(padded)).tobytes())
    if raised is not None:
        raise raised
    if "error" in outcome:
        raise ValueError(f"process 0: {outcome['error']}")
    return outcome["value"]


def gather_on_first_process(part: bytes) -> Iterator[bytes]:
    """Yields the bytes of every process, in their order, on the first one; elsewhere nothing.

    All processes call this at the same place, and iterate to the end. One part travels at a time:
    none of them has room for all parts but the one that wants them.
    """
    yield from [part] if jax.process_index() == 0 else []
    if jax.process_count() == 1:
        return
    lengths = multihost_utils.process_allgather(np.int32(len(part)))
    padded = np.zeros(lengths.max(), np.uint8)
    padded[: len(part)] = np.frombuffer(part, np.uint8)
    for source in range(1, jax.process_count()):
        is_source = jax.process_index() == source
        sent = multihost_utils.broadcast_one_to_all(padded, is_source=is_source)
        if jax.process_index() == 0:
            yield np.asarray(sent)[: lengths[source]].tobytes()
