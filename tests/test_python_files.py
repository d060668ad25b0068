import sys

import pytest

from ssd_jax import python_files


def test_a_file_outside_of_a_package_is_run_each_time(tmp_path):
    path = tmp_path / "one.py"
    path.write_text("VALUE = 1")
    assert python_files.load(str(path), "--config").VALUE == 1
    path.write_text("VALUE = 22")
    assert python_files.load(str(path), "--config").VALUE == 22


def test_a_file_of_a_package_imports_its_neighbours(tmp_path, monkeypatch):
    package = tmp_path / "made_for_this_test"
    (package / "inner").mkdir(parents=True)
    for folder in (package, package / "inner"):
        (folder / "__init__.py").touch()
    (package / "neighbour.py").write_text("VALUE = 3")
    path = package / "inner" / "file.py"
    path.write_text("from .. import neighbour\nVALUE = neighbour.VALUE")
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert python_files.load(str(path), "--config").VALUE == 3


def test_another_package_of_the_same_name_is_not_taken_for_it(tmp_path):
    import configs

    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "ssd.py").write_text("VALUE = 'theirs'")
    assert python_files.load(str(folder / "ssd.py"), "--config").VALUE == "theirs"
    assert sys.modules["configs"] is configs


def test_a_config_of_the_library_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hasattr(python_files.load("configs/quickstart.py", "--config"), "get_config")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.py", None, r"--config: expected a Python file, and there is none called .*none\.py"),
        ("text.txt", "x = 1", r"--config: expected a Python file"),
        ("wrong.py", "x = 1 / 0", r"wrong\.py: ZeroDivisionError"),
        ("half.py", "def f(:", r"half\.py: SyntaxError"),
        ("absent.py", "import no_such_module", r"absent\.py: ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_run_says_why(tmp_path, name, text, message):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        python_files.load(str(path), "--config")
