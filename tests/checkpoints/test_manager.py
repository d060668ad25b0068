"""Checkpoints of a state of a few numbers: what is kept, found, damaged and said."""

import json
import logging
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssd_jax.checkpoints import manager
from ssd_jax.checkpoints.folders import BEST, DATA, NOTES, RECENT, load_variables, metrics_in
from ssd_jax.checkpoints.manager import CheckpointError, Checkpoints
from ssd_jax.train.state import TrainState


def state(value=0.0):
    variables = {"params": {"layer": {"kernel": jnp.full((3, 2), value)}}}
    return TrainState.create(variables, optax.trace(0.9), ema=False)


def save(workdir, steps, **options):
    with Checkpoints(workdir, **options) as checkpoints:
        for step in steps:
            checkpoints.save(step, state(step).items(), {"at": step}, {"note": step})


def save_best(workdir, metrics, **options):
    """One after the other, each by a run that was resumed."""
    for step, metric in metrics.items():
        with Checkpoints(workdir, **options) as checkpoints:
            checkpoints.save_best(step, state(step).items(), metric)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def kernel(workdir, which="latest"):
    return load_variables(workdir, which=which)["params"]["layer"]["kernel"][0, 0]


def largest_file(folder):
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json"]
    return max(files, key=lambda p: p.stat().st_size)


def cut(folder):
    file = largest_file(folder)
    file.write_bytes(file.read_bytes()[:-1])


def flip(folder):
    file = largest_file(folder)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def alien(folder):
    empty(folder)
    (folder / "letter.txt").write_text("hello")


DAMAGES = {
    "cut": (cut, "bytes, and"),
    "flipped": (flip, "other bytes than were written"),
    "no variables": (lambda folder: shutil.rmtree(folder / "variables"), "variables/.* is missing"),
    "no progress": (lambda folder: shutil.rmtree(folder / "progress"), "progress/.* is missing"),
    "no data": (lambda folder: shutil.rmtree(folder / "data"), "data/.* is missing"),
    "empty": (empty, "its folder is empty"),
    "alien": (alien, "it has no manifest.json"),
}
damages = pytest.mark.parametrize(("damage", "said"), DAMAGES.values(), ids=DAMAGES)


def test_a_state_comes_back_with_its_notes_and_the_recent_ones_are_kept(tmp_path):
    save(tmp_path, [2, 4, 6], keep_recent=2)
    assert names(tmp_path / RECENT) == ["4", "6"]
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() == 6
        assert checkpoints.read(6, DATA) == {"at": 6}
        assert checkpoints.read(6, NOTES) == {"note": 6}
        restored = state().with_items(checkpoints.restore(state().items(), 6))
    jax.tree.map(np.testing.assert_array_equal, restored, state(6))


def test_without_any_checkpoint_the_latest_step_is_0(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() == 0


@damages
def test_of_a_damaged_checkpoint_the_one_before_is_used(tmp_path, caplog, damage, said):
    save(tmp_path, [2, 4])
    damage(tmp_path / RECENT / "4")
    with caplog.at_level(logging.WARNING):
        assert kernel(tmp_path) == 2
        assert names(tmp_path / RECENT) == ["2", "4"]  # reading changes nothing
        with Checkpoints(tmp_path) as checkpoints:
            assert checkpoints.latest_step() == 2
    assert len(caplog.records) == 2
    assert all(re.search(f"4 is damaged: .*{said}", x.message) for x in caplog.records)
    # It is kept, and does not count among those that are.
    assert names(tmp_path / RECENT) == ["2", "4.damaged1"]
    save(tmp_path, [4])
    assert names(tmp_path / RECENT) == ["2", "4", "4.damaged1"]
    assert kernel(tmp_path) == 4


@damages
def test_where_none_is_whole_all_are_named(tmp_path, damage, said):
    save(tmp_path, [2, 4])
    for step in ("2", "4"):
        damage(tmp_path / RECENT / step)
    with pytest.raises(ValueError, match=rf"checkpoints/4: .*{said}.*checkpoints/2: .*{said}"):
        load_variables(tmp_path)
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.raises(ValueError, match=r"4: .*2: .*move .*checkpoints away to begin anew"),
    ):
        checkpoints.latest_step()
    assert names(tmp_path / RECENT) == ["2", "4"]


def test_a_step_that_is_asked_for_is_not_replaced_by_another(tmp_path):
    save(tmp_path, [2, 4])
    flip(tmp_path / RECENT / "4")
    with pytest.raises(ValueError, match=r"'4' that is whole; .*checkpoints/4: .*other bytes"):
        load_variables(tmp_path, which="4")
    with pytest.raises(ValueError, match="no checkpoint '3'; there are checkpoints: "):
        load_variables(tmp_path, which="3")


def test_a_damaged_one_that_cannot_be_set_aside_yet_does_not_block_its_step(tmp_path):
    save(tmp_path, [2])
    alien(tmp_path / RECENT / "2")
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(2, state(2).items(), {}, {})
    assert names(tmp_path / RECENT) == ["2", "2.damaged1"]
    assert kernel(tmp_path) == 2


def test_what_a_kill_left_is_cleared_away(tmp_path):
    save(tmp_path, [2])
    for name in (".writing-4", ".writing-4.orbax-checkpoint-tmp", ".removing-1"):
        (tmp_path / RECENT / name).mkdir()
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() == 2
    assert names(tmp_path / RECENT) == ["2"]


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_best_are_the_best_after_any_resume(tmp_path, keep):
    metrics = {2: 0.1, 4: 0.4, 6: 0.2, 8: 0.4, 10: 0.3}
    save_best(tmp_path, metrics, keep_best=keep)
    assert names(tmp_path / BEST) == sorted(map(str, [4, 8, 10][:keep]))
    assert kernel(tmp_path, "best") == 4


def test_of_no_best_nothing_is_written(tmp_path):
    save_best(tmp_path, {2: 0.1}, keep_best=0)
    assert names(tmp_path / BEST) == []


def test_a_step_that_is_done_again_replaces_its_best(tmp_path):
    save_best(tmp_path, {2: 0.3, 4: 0.5}, keep_best=2)
    save_best(tmp_path, {4: 0.2}, keep_best=2)
    assert metrics_in(tmp_path / BEST) == {2: 0.3, 4: 0.2}
    assert kernel(tmp_path, "best") == 2


@pytest.mark.parametrize("damage", [cut, flip, empty, alien])
def test_a_damaged_best_gives_way_to_the_next(tmp_path, damage):
    save_best(tmp_path, {2: 0.3, 4: 0.5, 6: 0.4}, keep_best=3)
    damage(tmp_path / BEST / "4")
    assert kernel(tmp_path, "best") == 6
    save_best(tmp_path, {8: 0.1}, keep_best=3)
    assert names(tmp_path / BEST) == ["2", "4", "6", "8"]  # it does not count, and stays


def test_a_metric_that_was_changed_decides_nothing(tmp_path):
    save_best(tmp_path, {2: 0.5, 4: 0.3}, keep_best=2)
    path = tmp_path / BEST / "4" / NOTES / "metadata"
    path.write_text(path.read_text().replace("0.3", "0.9"))
    assert kernel(tmp_path, "best") == 2


def test_a_full_disk_is_told_and_harms_nothing(tmp_path, monkeypatch):
    save(tmp_path, [2])

    def full(folder):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(manager.integrity, "seal", full)
        with pytest.raises(
            CheckpointError, match=r"checkpoints/4 could not be written: .*No space"
        ):
            save(tmp_path, [4])
    assert names(tmp_path / RECENT) == ["2"]
    with monkeypatch.context() as patch:
        patch.setattr(manager.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 0))
        with pytest.raises(CheckpointError, match=r"it takes 0\.0 MB, and 0\.0 MB are free"):
            save(tmp_path, [4])
    save(tmp_path, [4])
    assert kernel(tmp_path) == 4


def test_a_state_of_another_form_is_refused_in_a_line(tmp_path):
    save(tmp_path, [2])
    variables = {"params": {"layer": {"kernel": jnp.zeros((3, 2))}}}
    other = TrainState.create(variables, optax.scale_by_adam(), ema=True)
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.raises(ValueError, match="its arrays are not those of this config") as raised,
    ):
        checkpoints.restore(other.items(), 2)
    assert len(str(raised.value)) < 600


def test_nothing_to_keep_is_refused(tmp_path):
    with pytest.raises(ValueError, match="keep_recent >= 1"):
        Checkpoints(tmp_path, keep_recent=0)


def test_the_manifest_lists_every_part(tmp_path):
    save(tmp_path, [2])
    listed = json.loads((tmp_path / RECENT / "2" / "manifest.json").read_text())["files"]
    assert {name.split("/")[0] for name in listed} >= {"variables", "progress", "data", "notes"}
