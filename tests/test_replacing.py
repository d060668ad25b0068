import pytest

from ssd_jax.replacing import replacing


def test_the_file_is_replaced_when_it_is_whole(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("old")
    with replacing(path) as aside:
        aside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyError("x")])
def test_an_error_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "x.json"
    path.write_text("old")

    def fail():
        with replacing(path) as aside:
            aside.write_text("ne")
            raise error

    with pytest.raises(type(error)) as raised:
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    if isinstance(error, OSError):
        assert f"{path} could not be written, and is as it was" in str(raised.value)
