"""From a reader of annotations to a prepared data set, with an account of what went into it."""

import itertools
import pathlib
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ssd_jax.data import builder, split_names
from ssd_jax.data.examples import Dataset, Example, Problem, Problems

LEFT_OUT_FILE = "left_out.txt"


class BadData(ValueError):  # noqa: N818
    """Raised where the input has problems and none may be left out; carries all of them."""

    def __init__(self, problems: list[Problem]):
        self.problems = problems
        super().__init__(f"preparation.prepare: {len(problems)} problem(s) in the input")


@dataclass
class SplitSummary:
    """What a prepared split holds."""

    images: int = 0
    images_without_objects: int = 0
    objects_per_class: Counter = field(default_factory=Counter)  # by label from 0
    difficult: int = 0
    crowds: int = 0
    max_objects: int = 0  # on one picture: the G that loses nothing
    sizes: list[tuple[int, int]] = field(default_factory=list)  # height, width in pixels
    relative_sizes: list[float] = field(default_factory=list)  # sqrt(box area / picture area)

    def add(self, example: Example) -> None:
        """Counts one picture in."""
        self.images += 1
        self.images_without_objects += not len(example.labels)
        self.objects_per_class.update(example.labels.tolist())
        self.difficult += int(example.difficult.sum())
        self.crowds += int(example.crowd.sum())
        self.max_objects = max(self.max_objects, len(example.labels))
        self.sizes.append((example.height, example.width))
        sides = example.boxes_xyxy[:, 2:] - example.boxes_xyxy[:, :2]
        self.relative_sizes.extend(np.sqrt(sides.prod(axis=1)).tolist())


@dataclass
class Summary:
    """What `prepare` wrote, and what it left out."""

    folder: pathlib.Path
    splits: dict[str, SplitSummary]
    left_out: list[Problem]
    seconds: float


def prepare(
    dataset: Dataset,
    *,
    name: str,
    data_dir: str | pathlib.Path,
    on_error: str = "stop",
    overwrite: bool = False,
    progress: Callable[[str, Example | None], None] = lambda split, example: None,
) -> Summary:
    """Writes a data set that `records.open_source` reads by its name; all of it or nothing.

    Args:
        dataset: a reader of annotations.
        name: the data set's name: lower-case letters, digits and underscores.
        data_dir: the folder of all data sets.
        on_error: "stop" reads to the end, and then raises every problem there is. "skip" leaves
            out the object, or the whole picture where the picture or its annotation cannot be
            read, and lists all of them in `left_out.txt` in the data set's folder.
        overwrite: replace a data set of that name; it stays until the new one is complete.
        progress: called with the split's name and each example that was read.

    Raises:
        BadData: where there are problems and `on_error` is "stop".
        ValueError: where the name is taken or is not a name, a split is empty, or it has a name
            under which it could not be opened.
    """
    data_dir = pathlib.Path(data_dir)
    if not (name.isidentifier() and name.isascii() and name == name.lower()):
        raise ValueError(
            f"preparation.prepare: expected a name of lower-case letters, digits and underscores "
            f"that starts with a letter, got {name!r}"
        )
    if on_error not in ("stop", "skip"):
        raise ValueError(f"preparation.prepare: expected on_error stop or skip, got {on_error!r}")
    if overwrite:
        builder.check_replaceable(data_dir / name)
    elif (data_dir / name).exists():
        raise ValueError(
            f"preparation.prepare: {data_dir / name} exists already; replace it with --overwrite "
            f"or choose another name"
        )
    for split in dataset.split_sizes:
        split_names.check(split)
    problems = Problems()
    summaries = {split: SplitSummary() for split in dataset.split_sizes}

    def counted(split: str) -> Iterator[Example]:
        for example in dataset.examples(split, problems):
            summaries[split].add(example)
            progress(split, example)
            yield example

    def finish(folder: pathlib.Path) -> None:
        if problems and on_error == "stop":
            raise BadData(list(problems))
        if problems:
            lines = "".join(f"{problem}\n" for problem in problems)
            (folder / LEFT_OUT_FILE).write_text(lines, encoding="utf-8")

    start = time.monotonic()
    splits = {split: counted(split) for split in dataset.split_sizes}
    firsts = {split: next(examples, None) for split, examples in splits.items()}
    if empty := [split for split, first in firsts.items() if first is None]:
        for examples in splits.values():
            deque(examples, maxlen=0)  # to find the other problems, too
        if problems and on_error == "stop":
            raise BadData(list(problems))
        raise ValueError(f"preparation.prepare: no picture that can be used in {', '.join(empty)}")
    whole = {split: itertools.chain([firsts[split]], splits[split]) for split in splits}
    folder = builder.write(dataset, whole, name=name, data_dir=data_dir, finish=finish)
    return Summary(folder, summaries, list(problems), time.monotonic() - start)
