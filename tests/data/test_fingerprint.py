import shutil

import pytest

from ssd_jax.data import fingerprint as fingerprints
from ssd_jax.data import preparation, shapes
from ssd_jax.data.fingerprint import fingerprint


def prepare(data_dir, name="shapes", **options):
    scenes = shapes.ShapeScenes(
        **{"num_train": 6, "num_val": 3, "image_size": 64, "max_objects": 3, **options}
    )
    preparation.prepare(scenes, name=name, data_dir=data_dir)
    return data_dir


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("prepared"))


def test_the_same_data_have_one_fingerprint_wherever_they_are(prepared, tmp_path):
    expected = fingerprint("shapes:train", prepared)
    assert expected == fingerprint("shapes:train", prepare(tmp_path / "again"))
    assert expected == fingerprint("other:train", prepare(tmp_path / "named", name="other"))


def test_other_pictures_splits_and_parts_have_others(prepared, tmp_path):
    specs = ("shapes:train", "shapes:val", "shapes:train[:3]", "shapes:train,shapes:val")
    found = {fingerprint(spec, prepared) for spec in specs}
    found.add(fingerprint("shapes:train", prepare(tmp_path, seed=1)))
    assert len(found) == len(specs) + 1


@pytest.mark.parametrize("whole_bytes", [fingerprints.WHOLE_BYTES, 0])
def test_one_byte_of_small_data_and_the_size_of_large_ones_are_seen(
    prepared, tmp_path, monkeypatch, whole_bytes
):
    monkeypatch.setattr(fingerprints, "WHOLE_BYTES", whole_bytes)
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    before = fingerprint("shapes:train", tmp_path)
    [path] = tmp_path.glob("shapes/*/*train*")
    data = bytearray(path.read_bytes())
    data[-70_000] ^= 1
    path.write_bytes(data if whole_bytes else data + b"x")
    assert fingerprint("shapes:train", tmp_path) != before
