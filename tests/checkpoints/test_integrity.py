import pytest

from ssd_jax.checkpoints import integrity


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "small").write_bytes(b"abc")
    (tmp_path / "large").write_bytes(bytes(100_000))
    integrity.seal(tmp_path)
    return tmp_path


def test_what_was_sealed_is_whole(folder):
    assert integrity.damage(folder) is None
    assert integrity.damage(folder, contents=False) is None


def test_a_file_more_is_no_damage(folder):
    (folder / ".DS_Store").write_bytes(b"x")
    assert integrity.damage(folder) is None


@pytest.mark.parametrize("contents", [True, False])
def test_cut_missing_and_flipped_files_are_named(folder, contents):
    small = folder / "part" / "small"
    small.write_bytes(b"ab")
    assert integrity.damage(folder, contents=contents) == (
        "part/small has 2 bytes, and 3 were written"
    )
    small.write_bytes(b"abd")
    assert integrity.damage(folder, contents=contents) == (
        "part/small has other bytes than were written"
    )
    small.unlink()
    assert integrity.damage(folder, contents=contents) == "part/small is missing"


def test_a_flipped_byte_of_a_large_file_is_found_by_its_contents(folder):
    data = bytearray(100_000)
    data[50_000] = 1
    (folder / "large").write_bytes(data)
    assert integrity.damage(folder, contents=False) is None
    assert integrity.damage(folder) == "large has other bytes than were written"


@pytest.mark.parametrize("text", ["", "[]", '{"files": {"large": {}}}', '{"files": 3}', "\xff"])
def test_a_damaged_manifest_is_damage(folder, text):
    (folder / integrity.MANIFEST).write_text(text, encoding="latin-1")
    assert integrity.damage(folder) == "manifest.json is damaged"
