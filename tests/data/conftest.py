"""Empty annotated folders, to be filled by each test."""

from collections.abc import Callable

import pytest
from annotated_pictures import CocoTree, VocTree

from ssd_jax.data import examples


@pytest.fixture
def voc_tree(tmp_path) -> VocTree:
    return VocTree(tmp_path / "VOCdevkit" / "VOC2007")


@pytest.fixture
def coco_tree(tmp_path) -> CocoTree:
    return CocoTree(tmp_path / "coco")


@pytest.fixture
def read_split() -> Callable:
    """Reads a split of a reader: its examples, and its problems as text."""

    def read(dataset, split):
        problems = examples.Problems()
        found = list(dataset.examples(split, problems))
        return found, [str(problem) for problem in problems]

    return read
