"""TensorBoard's event files: written at once, and taken back to an earlier step."""

import itertools
import logging
import os
import pathlib
import struct
import time
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image
from tensorboardX import event_file_writer, record_writer, summary
from tensorboardX.proto import event_pb2

from ssd_jax.replacing import replacing

log = logging.getLogger(__name__)

_HEADER = struct.Struct("<QI")  # the length of a record and its checksum, before it
_FOOTER_SIZE = 4  # a record's own checksum, after it


class EventWriter:
    """Writes scalars and pictures for TensorBoard into a new file of a folder.

    tensorboardX's own SummaryWriter writes in a thread: what it was given last is lost when the
    run is killed, and a full disk makes it wait for ever.
    """

    def __init__(self, folder: pathlib.Path, *, first_step: int) -> None:
        """Opens a file; a TensorBoard that is looking on forgets the steps from `first_step`."""
        folder.mkdir(parents=True, exist_ok=True)
        # The name has whole seconds, in which a run can be killed and begin again.
        self._file = event_file_writer.EventsWriter(
            str(folder / "events"), f".{os.getpid()}.{time.time_ns()}"
        )
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(event_pb2.Event(session_log=start), first_step)

    def scalar(self, step: int, name: str, value: float) -> None:
        """Writes a figure."""
        self._write(event_pb2.Event(summary=summary.scalar(name, value)), step)

    def picture(self, step: int, name: str, picture: Image.Image) -> None:
        """Writes a picture."""
        image = summary.image(name, np.asarray(picture), dataformats="HWC")
        self._write(event_pb2.Event(summary=image), step)

    def flush(self) -> None:
        """Returns when everything is on the disk."""
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _write(self, event: event_pb2.Event, step: int) -> None:
        event.wall_time = time.time()
        event.step = step
        self._file.write_event(event)


def take_back(folder: pathlib.Path, keep: Callable[[int, str], bool]) -> None:
    """Removes figures and pictures from a folder's event files, and records that are cut.

    Args:
        folder: of the files; it may be missing.
        keep: says of a step and a tag whether to keep them.
    """
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        records = list(_records(data))
        kept = [record for record in records if all(itertools.starmap(keep, _tags(record)))]
        if sum(map(len, kept)) == len(data):
            continue
        if cut := len(data) - sum(map(len, records)):
            log.warning("%s: its last %d bytes are no whole record, and are dropped", path, cut)
        with replacing(path) as aside:
            aside.write_bytes(b"".join(kept))


def _records(data: bytes) -> Iterator[bytes]:
    """Yields the whole records of an event file, as they are, up to the first that is not."""
    start = 0
    while start + _HEADER.size <= len(data):
        length, checksum = _HEADER.unpack_from(data, start)
        end = start + _HEADER.size + length + _FOOTER_SIZE
        if checksum != record_writer.masked_crc32c(data[start : start + 8]) or end > len(data):
            return
        yield data[start:end]
        start = end


def _tags(record: bytes) -> list[tuple[int, str]]:
    """Returns the step and the tag of every value in a record."""
    event = event_pb2.Event.FromString(record[_HEADER.size : -_FOOTER_SIZE])
    return [(event.step, value.tag) for value in event.summary.value]
