import os
import pathlib

import pytest

from ssd_jax.data import picture_files


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Makes empty files below a folder that is the current one."""
    monkeypatch.chdir(tmp_path)

    def files(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return files


def listed(*inputs):
    return [str(file.path) for file in picture_files.find([str(x) for x in inputs])]


def ids(*inputs):
    return {str(f.path): (f.name, f.image_id) for f in picture_files.find([str(x) for x in inputs])}


def test_a_folder_is_searched_to_its_depth_for_pictures(make):
    make("in/b.JPG", "in/a.png", "in/sub/c.webp", "in/notes.txt", "in/._a.png", "in/d.png/e.bmp")
    assert listed("in") == ["in/a.png", "in/b.JPG", "in/d.png/e.bmp", "in/sub/c.webp"]


def test_the_same_file_by_two_paths_is_taken_once(make):
    folder = make("in/a.png", "in/sub/b.png")
    (folder / "link").symlink_to("in")
    (folder / "alias.png").symlink_to("in/a.png")
    (folder / "in" / "loop").symlink_to(folder)
    paths = ["in/", folder / "in", ".", "link", "alias.png", "in/../in/a.png", "in/sub"]
    assert listed(*paths) == ["in/a.png", "in/sub/b.png"]
    assert listed("alias.png", "in") == ["alias.png", "in/sub/b.png"]


def test_pictures_in_a_folder_that_is_linked_to_are_found(make):
    folder = make("elsewhere/a.png", "in/b.png")
    (folder / "in" / "more").symlink_to(folder / "elsewhere")
    assert listed("in") == ["in/b.png", "in/more/a.png"]


def test_what_was_drawn_before_is_passed_over(make, caplog):
    make("in/a.png", "in/out/a.png", "in/out/detections.json", "in/cut/detections.part.json")
    make("in/cut/a.png")
    assert listed("in") == ["in/a.png"]
    assert "in/out is passed over" in caplog.text
    assert "in/cut is passed over" in caplog.text
    assert listed("in/out") == ["in/out/a.png"]  # asked for by its name


def test_an_input_that_is_no_file_or_folder_is_named(make):
    folder = make("in/a.png", "empty/notes.txt")
    os.mkfifo(folder / "fifo.png")
    for one, message in (
        ("nowhere", "no file or folder nowhere"),
        ("in/a.png/b.png", "no file or folder in/a.png/b.png"),
        ("fifo.png", "expected a picture or a folder, but fifo.png is a FIFO"),
        ("/dev/null", "/dev/null is a device"),
        ("empty", "no pictures in empty"),
    ):
        with pytest.raises(ValueError, match=message):
            picture_files.find([one])
    with pytest.raises(ValueError, match="name some"):
        picture_files.find([])


def test_a_fifo_and_a_broken_link_in_a_folder_are_left_to_the_reader(make):
    folder = make("in/a.png")
    os.mkfifo(folder / "in" / "b.png")
    (folder / "in" / "c.png").symlink_to("nowhere")
    assert listed("in") == ["in/a.png", "in/b.png", "in/c.png"]


def test_a_name_that_is_a_number_is_that_number(make):
    make("in/000000000139.jpg", "in/42.png", "in/0.png", "in/IMG_7.png", "in/٣.png", "in/1e3.png")
    make("in/0123456789012345678.png")
    assert ids("in") == {
        "in/000000000139.jpg": ("000000000139", "139"),
        "in/42.png": ("42", "42"),
        "in/0.png": ("0", "0"),
        "in/IMG_7.png": ("IMG_7", "IMG_7"),
        "in/٣.png": ("٣", "٣"),
        "in/1e3.png": ("1e3", "1e3"),
        "in/0123456789012345678.png": ("0123456789012345678", "0123456789012345678"),
    }


def test_names_that_are_the_same_number_stay_names(make):
    make("in/7.jpg", "in/007.jpg", "in/8.jpg")
    assert ids("in") == {
        "in/7.jpg": ("7", "7"),
        "in/007.jpg": ("007", "007"),
        "in/8.jpg": ("8", "8"),
    }


def test_files_of_one_name_are_told_apart_by_their_folders(make):
    make("in/a/x.jpg", "in/b/x.jpg", "in/b/X.png", "in/b/y.jpg", "in/a/1.png", "in/a/1.jpg")
    assert ids("in") == {
        "in/a/1.jpg": ("a_1.jpg", "a_1.jpg"),
        "in/a/1.png": ("a_1.png", "a_1.png"),
        "in/a/x.jpg": ("a_x.jpg", "a_x.jpg"),
        "in/b/X.png": ("b_X.png", "b_X.png"),
        "in/b/x.jpg": ("b_x.jpg", "b_x.jpg"),
        "in/b/y.jpg": ("y", "y"),
    }


def test_no_two_names_are_the_same_however_files_are_called(make):
    make("a/b/c.jpg", "a_b/c.jpg", "a_b_c.jpg.png", "A/b/c.jpg", "a/b/c.JPG", f"{'d' * 250}/c.jpg")
    found = picture_files.find(["."])
    assert len(found) == 6
    assert len({file.name.casefold() for file in found}) == 6
    assert len({file.image_id for file in found}) == 6
    assert max(len(file.name) for file in found) < 250
    assert picture_files.find([str(pathlib.Path.cwd())])[0].name == found[0].name
