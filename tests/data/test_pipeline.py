import itertools
import json
import logging
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest
from annotated_pictures import encode, noise

from ssd_jax.data import images, pipeline
from ssd_jax.data.records import Record

CANVAS = (24, 32)
OPTIONS = {"canvas_size": CANVAS, "max_objects": 3}


def record(number, size=(16, 20), boxes=((0.1, 0.2, 0.5, 0.6),), **fields):
    n = len(boxes)
    return Record(
        image_id=f"image {number}",
        image=encode(noise(*size, seed=number)),
        height=size[0],
        width=size[1],
        boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.arange(1, n + 1, dtype=np.int32),
        difficult=np.array(fields.get("difficult", [False] * n), bool),
        crowd=np.array(fields.get("crowd", [False] * n), bool),
        area=np.ones(n, np.float32),
    )


def source(length):
    return [record(number) for number in range(length)]


def train(records, **options):
    return pipeline.train_batches(records, **{"batch_size": 4, "seed": 0, **OPTIONS, **options})


def evaluate(records, **options):
    return pipeline.eval_batches(records, **{"batch_size": 4, **OPTIONS, **options})


def take(batches, count):
    with batches:
        return list(itertools.islice(batches, count))


def indices(batches, count):
    return np.concatenate([batch.index for batch in take(batches, count)]).tolist()


def assert_same(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        for field, value, expected in zip(batch._fields, batch, other, strict=True):
            np.testing.assert_array_equal(value, expected, err_msg=field)


def test_a_batch_holds_untouched_pixels_and_padded_objects():
    boxes = [(0.1, 0.2, 0.5, 0.6), (0, 0, 1, 1)]
    (batch,) = take(train([record(0, boxes=boxes)], batch_size=1), 1)
    assert [(value.dtype, value.shape) for value in batch] == [
        (np.int32, (1,)),
        (np.uint8, (1, 24, 32, 3)),
        (np.int32, (1, 2)),
        (np.float32, (1, 3, 4)),
        (np.int32, (1, 3)),
        (bool, (1, 3)),
    ]
    np.testing.assert_array_equal(batch.canvas[0, :16, :20], noise(16, 20, seed=0))
    assert not batch.canvas[0, 16:].any()
    assert not batch.canvas[0, :, 20:].any()
    assert batch.size.tolist() == [[16, 20]]
    np.testing.assert_array_equal(batch.boxes_xyxy[0], np.float32([*boxes, (0, 0, 0, 0)]))
    assert batch.labels.tolist() == [[1, 2, 0]]
    assert batch.valid.tolist() == [[True, True, False]]


def test_a_larger_picture_is_scaled_to_the_canvas_and_its_boxes_stay():
    (batch,) = take(train([record(0, size=(48, 40))], batch_size=1), 1)
    assert batch.size.tolist() == [[24, 20]]  # x .5: the height decides
    np.testing.assert_array_equal(batch.boxes_xyxy[0, 0], np.float32((0.1, 0.2, 0.5, 0.6)))


def test_every_epoch_holds_every_record_once_in_a_new_order():
    order = indices(train(source(8)), 6)
    epochs = [order[:8], order[8:16], order[16:]]
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert epochs[0] != list(range(8))


def test_batches_run_across_epochs():
    order = indices(train(source(5)), 5)  # 20 = 4 epochs of 5
    assert np.bincount(order).tolist() == [4] * 5


def test_a_batch_may_be_larger_than_the_data_set():
    order = indices(train(source(2)), 2)
    assert np.bincount(order).tolist() == [4, 4]


def test_the_seed_decides_the_order():
    records = source(12)
    assert indices(train(records), 3) == indices(train(records), 3)
    assert indices(train(records), 3) != indices(train(records, seed=1), 3)


def test_processes_share_the_same_batches():
    records = source(7)
    whole = take(train(records), 5)
    parts = [take(train(records, process_index=i, process_count=2), 5) for i in range(2)]
    joined = [
        type(first)(*(np.concatenate(pair) for pair in zip(first, second, strict=True)))
        for first, second in zip(*parts, strict=True)
    ]
    assert_same(joined, whole)


@pytest.mark.parametrize("done", [0, 1, 5])
def test_resuming_gives_exactly_the_next_batch(done):
    records = source(6)
    whole = take(train(records), 9)
    with train(records) as batches:
        first = list(itertools.islice(batches, done))
        state = json.loads(json.dumps(batches.get_state()))
    resumed = train(records)
    resumed.set_state(state)
    assert_same(first + take(resumed, 9 - done), whole)


def test_an_iterator_can_be_put_back_while_it_runs():
    with train(source(6)) as batches:
        next(batches)
        state = batches.get_state()
        expected = next(batches)
        next(batches)
        batches.set_state(state)
        assert_same([next(batches)], [expected])
        assert batches.get_state()["next_batch"] == 2


def test_workers_change_nothing_and_resume_the_same():
    records = source(10)
    whole = take(train(records), 8)
    with train(records, num_workers=2) as batches:
        first = list(itertools.islice(batches, 3))
        state = batches.get_state()
    resumed = train(records, num_workers=1)
    resumed.set_state(state)
    assert_same(first + take(resumed, 5), whole)


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"batch_size": 2}, {"records": 5}],
    ids=lambda change: next(iter(change)),
)
def test_a_state_of_another_order_is_refused(change):
    state = train(source(6)).get_state()
    other = train(source(change.pop("records", 6)), **change)
    with pytest.raises(ValueError, match=r"set_state: expected a state of .*, got one of"):
        other.set_state(state)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_another_batch_size_goes_on_with_the_next_record_where_that_is_asked_for(
    num_workers, caplog
):
    records = source(5)
    whole = indices(train(records, batch_size=1), 30)
    with train(records, batch_size=4) as batches:
        found = [i for _ in range(2) for i in next(batches).index]
        state = json.loads(json.dumps(batches.get_state()))
    for size, count in ((3, 3), (2, 2), (4, 1)):
        with train(records, batch_size=size, num_workers=num_workers) as batches:
            with pytest.raises(ValueError, match="expected a state of"):
                batches.set_state(state)
            with caplog.at_level(logging.WARNING):
                batches.set_state(state, any_batch_size=True)
            assert f"Batches of {size} pictures now" in caplog.text
            assert f"go on with record {len(found)} of the order" in caplog.text
            found += [i for _ in range(count) for i in next(batches).index]
            state = json.loads(json.dumps(batches.get_state()))
    assert found == whole[: len(found)]
    assert len(found) == 8 + 9 + 4 + 4


def test_a_state_of_the_first_version_is_read():
    records = source(6)
    expected = take(train(records), 3)[2]
    resumed = train(records)
    order = {"records": 6, "batch_size": 4, "seed": 0}
    resumed.set_state({"next_batch": 2, "order": order})
    assert_same(take(resumed, 1), [expected])


WORKERS = """
import sys
sys.path[:0] = sys.argv[1:]
import multiprocessing, test_pipeline
if __name__ == "__main__":
    batches = test_pipeline.train(test_pipeline.source(6), num_workers=2)
    next(batches)
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    input()
"""


def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(WORKERS)
    tests = pathlib.Path(__file__).parent
    command = [sys.executable, script, tests, tests.parents[1]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(workers) == 2
        parent.kill()
    give_up = time.monotonic() + 20
    while any(is_running(pid) for pid in workers):
        assert time.monotonic() < give_up
        time.sleep(0.05)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = pathlib.Path(f"/proc/{pid}/stat")
    # One that has ended may wait for an init process that collects it.
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_more_processes_may_resume():
    records = source(6)
    with train(records) as batches:
        next(batches)
        state = batches.get_state()
        expected = next(batches)
    resumed = train(records, process_index=1, process_count=2)
    resumed.set_state(state)
    np.testing.assert_array_equal(take(resumed, 1)[0].index, expected.index[2:])


def test_crowds_take_no_part_and_difficult_ones_by_choice():
    boxes = [(0, 0, 0.1, 0.1)] * 3
    records = [record(0, boxes=boxes, crowd=[0, 1, 0], difficult=[0, 0, 1])]
    (batch,) = take(train(records, batch_size=1), 1)
    assert batch.labels.tolist() == [[1, 3, 0]]
    (batch,) = take(train(records, batch_size=1, use_difficult=False), 1)
    assert batch.labels.tolist() == [[1, 0, 0]]
    assert batch.valid.tolist() == [[True, False, False]]


def test_an_image_without_objects_is_a_batch_row_without_objects():
    (batch,) = take(train([record(0, boxes=())], batch_size=1), 1)
    assert not batch.valid.any()
    assert not batch.boxes_xyxy.any()


def test_of_too_many_objects_the_largest_are_kept_counted_and_reported_once(caplog):
    sides = (0.2, 0.5, 0.1, 0.4, 0.3)
    many = record(0, boxes=[(0, 0, side, side) for side in sides])
    with caplog.at_level(logging.WARNING), train([many], batch_size=2) as batches:
        batch = next(batches)
        assert batch.labels[0].tolist() == [2, 4, 5]  # .5, .4, .3, in their order
        assert batches.dropped_objects == 4  # two of each of two rows
        next(batches)
        assert batches.dropped_objects == 8
    assert len(caplog.records) == 1
    assert "Record 0 has 2 objects more than max_objects = 3" in caplog.text


def test_crowds_do_not_count_as_too_many(caplog):
    many = record(0, boxes=[(0, 0, 0.5, 0.5)] * 5, crowd=[1, 1, 0, 0, 0])
    with train([many], batch_size=1) as batches:
        assert next(batches).labels.tolist() == [[3, 4, 5]]
        assert batches.dropped_objects == 0


@pytest.mark.parametrize("length", [1, 4, 7, 8])
@pytest.mark.parametrize("processes", [1, 2])
def test_evaluation_sees_every_record_once_in_order(length, processes):
    records = source(length)
    parts = [
        list(evaluate(records, process_index=i, process_count=processes)) for i in range(processes)
    ]
    assert {len(part) for part in parts} == {-(-length // 4)}
    rows = [batch.index for group in zip(*parts, strict=True) for batch in group]
    order = np.concatenate(rows)
    assert order[:length].tolist() == list(range(length))
    assert (order[length:] == -1).all()


def test_padding_of_the_last_evaluation_batch_is_black_and_empty():
    *_, last = evaluate(source(5))
    assert last.index.tolist() == [4, -1, -1, -1]
    assert not last.canvas[1:].any()
    assert last.size[1:].tolist() == [[24, 32]] * 3  # no size is 0: nothing divides by it
    assert not last.valid[1:].any()


def test_evaluation_can_be_run_again():
    batches = evaluate(source(5))
    first = list(batches)
    batches.set_state({**batches.get_state(), "next_batch": 0})
    assert_same(list(batches), first)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_picture_that_cannot_be_decoded_is_named(num_workers):
    broken = record(0)._replace(image=b"broken")
    with (
        train([broken], num_workers=num_workers) as batches,
        pytest.raises(ValueError, match=r"record 0 \(image 0\): images\.decode: cannot read"),
    ):
        next(batches)


def test_a_prepared_picture_is_read_whatever_the_limit():
    with images.memory_limit(0):  # in this thread, so past the iterator's own
        batch, _ = evaluate([record(0)])._batches(0)[0]
    np.testing.assert_array_equal(batch.canvas[0, :16, :20], noise(16, 20, seed=0))


@pytest.mark.parametrize(
    "options",
    [{"process_count": 3}, {"process_index": 2, "process_count": 2}, {"process_index": -1}],
)
def test_batches_that_cannot_be_shared_are_refused(options):
    for make in (train, evaluate):
        with pytest.raises(ValueError, match="expected a batch size that"):
            make(source(4), **options)
