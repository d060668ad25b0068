"""What is listed twice is the same: requirements.txt and pyproject.toml, packages and folders."""

import pathlib
import tomllib

ROOT = pathlib.Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_requirements_are_those_of_the_package_and_its_tests():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    listed = {line for line in lines if line and not line.startswith("#")}
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    assert listed == {*project["dependencies"], *extras["train"], *extras["test"]}


def test_the_wheel_has_every_package():
    folders = [
        path.parent.relative_to(ROOT)
        for top in ("ssd_jax", "launch", "configs")
        for path in (ROOT / top).rglob("__init__.py")
    ]
    dotted = {".".join(folder.parts) for folder in folders}
    inside = {name if name.startswith("ssd_jax") else f"ssd_jax.{name}" for name in dotted}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == inside
