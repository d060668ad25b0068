"""metrics.jsonl and TensorBoard of a run that is stopped, killed and short of space."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

from ssd_jax.train import events
from ssd_jax.train.metrics import EVALUATION, LINES, TRAIN, MetricsWriter, last_step, read_line


def lines(workdir):
    rows = [json.loads(line) for line in (workdir / LINES).read_text().splitlines()]
    return [(row["step"], row["group"]) for row in rows]


def tags(workdir):
    records = [
        record
        for path in (workdir / "tensorboard").iterdir()
        for record in events._records(path.read_bytes())
    ]
    return sorted(tag for record in records for tag in events._tags(record))


def write(workdir, steps, *, first_step=0, evaluated=True):
    with MetricsWriter(workdir, first_step=first_step) as writer:
        for step in steps:
            writer.scalars(step, TRAIN, {"total": 1.0})
        writer.picture(steps[-1], "validation", Image.fromarray(np.zeros((4, 4, 3), np.uint8)))
        if evaluated:
            writer.scalars(steps[-1], EVALUATION, {"mAP": 0.5})


def test_a_resumed_run_writes_every_step_once(tmp_path):
    write(tmp_path, [1, 2, 3])
    write(tmp_path, [2, 3, 4], first_step=1)
    train = [(step, TRAIN) for step in (1, 2, 3, 4)]
    assert lines(tmp_path) == [*train, (4, EVALUATION)]
    scalars = [(step, "train/total") for step in (1, 2, 3, 4)]
    assert tags(tmp_path) == sorted([*scalars, (4, "evaluation/mAP"), (4, "validation")])


def test_of_a_complete_evaluation_everything_stays(tmp_path):
    write(tmp_path, [1, 2])
    write(tmp_path, [3], first_step=2)
    assert (2, EVALUATION) in lines(tmp_path)
    assert {(2, "evaluation/mAP"), (2, "validation")} <= set(tags(tmp_path))


def test_an_evaluation_without_its_line_is_taken_back(tmp_path):
    write(tmp_path, [1, 2], evaluated=False)
    write(tmp_path, [3], first_step=2)
    assert tags(tmp_path).count((2, "validation")) == 0
    assert (2, "train/total") in tags(tmp_path)


def test_everything_is_on_the_disk_after_a_flush(tmp_path):
    with MetricsWriter(tmp_path, first_step=0) as writer:
        writer.scalars(1, TRAIN, {"total": 1.0})
        writer.flush()
        assert tags(tmp_path) == [(1, "train/total")]
        assert lines(tmp_path) == [(1, TRAIN)]


@pytest.mark.parametrize("tail", ['{"step": 3, "gro', "\x00\x00\x00\n", "[]\n", '{"step": 3}\n'])
def test_what_is_not_whole_is_dropped_with_a_message(tmp_path, caplog, tail):
    write(tmp_path, [1, 2])
    with (tmp_path / LINES).open("a") as file:
        file.write(tail)
    assert last_step(tmp_path / LINES) == 2
    with caplog.at_level(logging.WARNING):
        write(tmp_path, [3], first_step=2)
    assert "1 lines are not whole, and are dropped (line 4: " in caplog.text
    assert lines(tmp_path) == [(1, TRAIN), (2, TRAIN), (2, EVALUATION), (3, TRAIN), (3, EVALUATION)]


def test_a_line_that_lacks_its_end_is_not_whole(tmp_path):
    """The rest of it may be missing, and what follows would be written onto it."""
    (tmp_path / LINES).write_text('{"step": 1, "group": "train"}')
    write(tmp_path, [2], first_step=1)
    assert lines(tmp_path) == [(2, TRAIN), (2, EVALUATION)]


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_cut_event_file_is_mended(tmp_path, caplog, cut):
    write(tmp_path, [1, 2])
    [path] = (tmp_path / "tensorboard").iterdir()
    path.write_bytes(path.read_bytes()[:-cut])
    with caplog.at_level(logging.WARNING):
        write(tmp_path, [3], first_step=2)
    assert "are no whole record, and are dropped" in caplog.text
    assert {(1, "train/total"), (2, "train/total"), (3, "train/total")} <= set(tags(tmp_path))


def test_runs_of_the_same_second_write_files_of_their_own(tmp_path):
    for step in (1, 2, 3):
        write(tmp_path, [step], first_step=step - 1)
    assert [step for step, tag in tags(tmp_path) if tag == "train/total"] == [1, 2, 3]


def test_read_line(tmp_path):
    write(tmp_path, [1, 2])
    assert read_line(tmp_path / LINES, 2, EVALUATION)["mAP"] == 0.5
    assert read_line(tmp_path / LINES, 1, EVALUATION) is None
    assert read_line(tmp_path / "none", 1, EVALUATION) is None
    assert last_step(tmp_path / "none") == 0
