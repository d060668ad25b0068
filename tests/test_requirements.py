"""requirements.txt is what pyproject.toml says, so that a list is not forgotten in one of them."""

import pathlib
import tomllib

ROOT = pathlib.Path(__file__).parents[1]


def test_requirements_are_those_of_the_package_and_its_tests():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    listed = {line for line in lines if line and not line.startswith("#")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert listed == {*project["dependencies"], *project["optional-dependencies"]["test"]}
