"""From records to batches: shuffled, decoded and padded, on any number of processes and workers.

The records of batch k depend on (seed, batch size, length of the source) alone: not on the number
of processes that share it, nor on the number of workers that decode it, nor on where the run was
interrupted. The order of the records does not depend on the batch size, so a run can go on with
another. The host only decodes; augmentation happens on the device.
"""

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grain
import numpy as np
from absl import flags

from ssd_jax.data import images
from ssd_jax.data.records import Record
from ssd_jax.types import Batch

_log = logging.getLogger(__name__)

# Batches in flight, of each worker or of the threads that stand in for workers.
_BUFFERED_BATCHES = 2
_THREADS_WITHOUT_WORKERS = 2


def train_batches(
    source: Sequence[Record],
    *,
    batch_size: int,
    canvas_size: tuple[int, int],
    max_objects: int,
    seed: int,
    num_workers: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    use_difficult: bool = True,
) -> "BatchIterator":
    """Returns batches without end, in an order that is new in every epoch.

    Batches run across the ends of epochs, so all are full. Crowds take no part.

    Args:
        source: the records.
        batch_size: pictures in a batch of all processes together.
        canvas_size: rows and columns of the canvas; a larger picture is scaled down to fit.
        max_objects: the G that objects are padded to; the largest are kept, and the iterator counts
            and reports the others.
        seed: of the order.
        num_workers: processes that decode; 0 decodes in threads of this process.
        process_index: which part of every batch to read.
        process_count: how many processes share a batch; they get consecutive parts of it.
        use_difficult: whether objects marked as difficult take part.
    """
    local = _local_rows(batch_size, process_index, process_count)
    shuffled = grain.MapDataset.range(len(source)).seed(seed).shuffle().repeat()
    load = _LoadBatch(source, canvas_size, max_objects, use_difficult)

    def batches(first_record: int) -> grain.MapDataset:
        # Without a remainder of sys.maxsize records, which Grain cannot count.
        rows = shuffled[first_record:].batch(batch_size, drop_remainder=True)
        return rows.map(lambda rows: load(rows[local]))

    order = {"records": len(source), "batch_size": batch_size, "seed": seed}
    return BatchIterator(batches, num_workers, order)


def eval_batches(
    source: Sequence[Record],
    *,
    batch_size: int,
    canvas_size: tuple[int, int],
    max_objects: int,
    num_workers: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    use_difficult: bool = True,
) -> "BatchIterator":
    """Returns every record once, in order; the same number of batches on every process.

    The last batch is filled up with black pictures without objects, whose index is -1. Arguments
    are those of `train_batches`. For scoring take objects from the records themselves: batches
    leave crowds out and keep at most `max_objects`, which may be 0 here.
    """
    local = _local_rows(batch_size, process_index, process_count)
    num_batches = -(-len(source) // batch_size)
    indices = np.full(num_batches * batch_size, -1)
    indices[: len(source)] = np.arange(len(source))
    rows = indices.reshape(num_batches, batch_size)[:, local]
    load = _LoadBatch(source, canvas_size, max_objects, use_difficult)
    batches = grain.MapDataset.range(num_batches).map(lambda i: load(rows[i]))
    order = {"records": len(source), "batch_size": batch_size, "seed": None}
    return BatchIterator(lambda first_record: batches, num_workers, order)


class BatchIterator(Iterator[Batch]):
    """Iterates over batches, and can be put back to where it was.

    The state is a small JSON-able dict, and can be restored with another number of workers or
    processes. Use it as a context manager, or call `close`, to end the workers.

    Attributes:
        dropped_objects: objects left out so far because a picture had more than `max_objects`.
    """

    def __init__(
        self,
        batches: Callable[[int], grain.MapDataset],  # from a record of the order on
        num_workers: int,
        order: dict[str, Any],  # what decides it, and the batch size
    ):
        self._batches = batches
        self._num_workers = num_workers
        self._order = order
        self._first_record = 0
        self._next_batch = 0
        self._running = None
        self.dropped_objects = 0

    def __next__(self) -> Batch:
        if self._running is None:
            self._running = self._start()
        batch, dropped = next(self._running)
        self._next_batch += 1
        self._report(batch, dropped)
        return batch

    def get_state(self) -> dict[str, Any]:
        """Returns the number of the next batch, counted from a first record of the order."""
        state = {"next_batch": self._next_batch, "first_record": self._first_record}
        return state | {"order": dict(self._order)}

    def set_state(self, state: dict[str, Any], *, any_batch_size: bool = False) -> None:
        """Continues with the batch that came next when `get_state` returned `state`.

        With `any_batch_size`, batches of `train_batches` can have had another size: the next one
        begins with the record that would have come next.

        Raises:
            ValueError: for a state of another data set, batch size or seed, with which the next
                batch would not be the same.
        """
        theirs, ours = state["order"]["batch_size"], self._order["batch_size"]
        first_record, next_batch = state.get("first_record", 0), state["next_batch"]
        if any_batch_size and theirs != ours:
            first_record, next_batch = first_record + next_batch * theirs, 0
            message = (
                "Batches of %d pictures now, of %d before: they go on with record %d of the order"
            )
            _log.warning(message, ours, theirs, first_record)
            state = {"order": {**state["order"], "batch_size": ours}}
        if state["order"] != self._order:
            raise ValueError(
                f"pipeline.BatchIterator.set_state: expected a state of {self._order}, "
                f"got one of {state['order']}"
            )
        self.close()
        self._first_record, self._next_batch = first_record, next_batch

    def close(self) -> None:
        """Ends the workers; the next batch would start them again."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def __enter__(self) -> "BatchIterator":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _start(self) -> grain.DatasetIterator:
        ahead = self._batches(self._first_record)[self._next_batch :]
        threads = 1 if self._num_workers else _THREADS_WITHOUT_WORKERS
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=_BUFFERED_BATCHES)
        dataset = ahead.to_iter_dataset(options)
        if self._num_workers:
            if not flags.FLAGS.is_parsed():  # in a notebook or a test; Grain reads its own flags
                flags.FLAGS.mark_as_parsed()
            dataset = dataset.mp_prefetch(
                grain.MultiprocessingOptions(self._num_workers, _BUFFERED_BATCHES),
                worker_init_fn=_end_with_parent,
            )
        return iter(dataset)

    def _report(self, batch: Batch, dropped: np.ndarray) -> None:
        if not batch.valid.shape[1]:
            return  # none were asked for
        if dropped.any() and not self.dropped_objects:
            row = int(dropped.argmax())
            message = (
                "Record %d has %d objects more than max_objects = %d; the smallest are left out, "
                "here and wherever it happens again (BatchIterator.dropped_objects counts)."
            )
            _log.warning(message, batch.index[row], dropped[row], batch.valid.shape[1])
        self.dropped_objects += int(dropped.sum())


def _end_with_parent(worker: int, count: int) -> None:
    """Makes a worker end with its parent: a killed process ends nothing that it started."""
    del worker, count
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


@dataclass(frozen=True)
class _LoadBatch:
    """Reads, decodes and pads the records of one batch; runs in worker processes."""

    source: Sequence[Record]  # pickled for the workers
    canvas_size: tuple[int, int]
    max_objects: int
    use_difficult: bool

    def __call__(self, indices: np.ndarray) -> tuple[Batch, np.ndarray]:
        """Returns the batch, and int32[B]: how many objects each picture had beyond G."""
        B, G = len(indices), self.max_objects
        batch = Batch(
            index=np.asarray(indices, np.int32),
            canvas=np.zeros((B, *self.canvas_size, 3), np.uint8),
            size=np.tile(np.array(self.canvas_size, np.int32), (B, 1)),
            boxes_xyxy=np.zeros((B, G, 4), np.float32),
            labels=np.zeros((B, G), np.int32),
            valid=np.zeros((B, G), bool),
        )
        dropped = np.zeros(B, np.int32)
        for row, index in enumerate(batch.index):
            if index < 0:
                continue
            record = self.source[index]
            try:
                image = record.decode(canvas_size=self.canvas_size)
            except ValueError as error:
                where = f"pipeline: record {index} ({record.image_id})"
                raise ValueError(f"{where}: {error}") from error
            batch.size[row] = images.place(image, batch.canvas[row])
            kept, dropped[row] = self._select(record)
            batch.boxes_xyxy[row, : len(kept)] = record.boxes_xyxy[kept]
            batch.labels[row, : len(kept)] = record.labels[kept]
            batch.valid[row, : len(kept)] = True
        return batch, dropped

    def _select(self, record: Record) -> tuple[np.ndarray, int]:
        """Returns the objects that take part, in their order, and the number without a slot."""
        wanted = ~record.crowd if self.use_difficult else ~(record.crowd | record.difficult)
        candidates = np.flatnonzero(wanted)
        excess = max(0, len(candidates) - self.max_objects)
        if excess:
            sides = record.boxes_xyxy[candidates, 2:] - record.boxes_xyxy[candidates, :2]
            by_size = np.argsort(-sides.prod(axis=1), kind="stable")
            candidates = np.sort(candidates[by_size[: self.max_objects]])
        return candidates, excess


def _local_rows(batch_size: int, process_index: int, process_count: int) -> slice:
    if batch_size % process_count or not 0 <= process_index < process_count:
        raise ValueError(
            f"pipeline: expected a batch size that {process_count} processes share evenly and an "
            f"index below their number, got batch size {batch_size}, process {process_index}"
        )
    rows = batch_size // process_count
    return slice(process_index * rows, (process_index + 1) * rows)
