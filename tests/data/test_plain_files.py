import codecs
import os

import pytest

from ssd_jax.data import plain_files


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert plain_files.read(tmp_path / "a") == b"abc"
    with pytest.raises(ValueError, match="at most 2 bytes, got 3"):
        plain_files.read(tmp_path / "a", most=2)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("fifo", "device", "."):
        with pytest.raises(ValueError, match="expected a regular file"):
            plain_files.read(tmp_path / name)


@pytest.mark.parametrize(
    "data",
    [
        b"a\r\n\xc3\xbc\r\n",
        codecs.BOM_UTF8 + b"a\n\xc3\xbc\n",
        "a\rü\r".encode("utf-16"),
        codecs.BOM_UTF16_BE + "a\nü\n".encode("utf-16-be"),
        "a\nü\n".encode("utf-32"),
    ],
)
def test_lines_of_any_marked_encoding_and_ending(tmp_path, data):
    (tmp_path / "list.txt").write_bytes(data)
    assert plain_files.read_lines(tmp_path / "list.txt") == ["a", "ü", ""]


@pytest.mark.parametrize("data", [b"\xfc\n", "a\n".encode("utf-16-le"), b"\xff\xfea"])
def test_other_bytes_are_no_text(tmp_path, data):
    (tmp_path / "list.txt").write_bytes(data)
    with pytest.raises(ValueError, match=r"list\.txt: .*save it as UTF-8"):
        plain_files.read_lines(tmp_path / "list.txt")


def test_a_listing_without_what_systems_leave_behind(tmp_path):
    for name in ("b/c.jpg", "a.jpg", "b/._c.jpg", "__MACOSX/a.jpg", ".git/a.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "up").symlink_to("..")  # listed once, and not for ever
    assert [str(path) for path in plain_files.listing(tmp_path)] == ["a.jpg", "b/c.jpg"]
    assert plain_files.subfolders(tmp_path) == [tmp_path / "b"]
