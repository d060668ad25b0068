"""Turns a folder of annotated pictures into a data set that can be trained on.

It reads a VOC folder (JPEGImages, Annotations, ImageSets/Main, and the forms that labelImg,
Roboflow and Kaggle write) or a COCO folder (instances JSON and pictures). Or it makes scenes, from
pictures in class folders or of shapes, which need no input:

    python -m launch.prepare --format voc --source VOCdevkit/VOC2007 --name my_voc
    python -m launch.prepare --format coco --source coco --name my_coco
    python -m launch.prepare --format image_folder_scenes --source cifar10 --name cifar_scenes
    python -m launch.prepare --format shapes --name shapes

It prints what it recognised, guessed and left out; the rules are in `ssd_jax/data/voc_layout.py`,
`voc_lists.py`, `voc_annotation.py`, `coco_layout.py` and `coco_file.py`.

TFDS's own data sets (voc/2007, voc/2012, coco/2017) are read as TFDS prepared them, in array_record
files, under the same --data_dir.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import app, flags, logging
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ssd_jax.data import coco, folder_scenes, images, preparation, shapes, voc
from ssd_jax.data.class_names import printable
from ssd_jax.data.examples import Dataset, Problem

from . import pipes

_FORMAT = flags.DEFINE_enum(
    "format", None, ["voc", "coco", "image_folder_scenes", "shapes"], "The form of the input."
)
_SOURCE = flags.DEFINE_string("source", None, "The folder to read; shapes need none.")
_NAME = flags.DEFINE_string("name", None, "The data set's name: letters, digits, underscores.")
_DATA_DIR = flags.DEFINE_string("data_dir", "datasets", "The folder of prepared data sets.")
_ON_ERROR = flags.DEFINE_enum(
    "on_error",
    "stop",
    ["stop", "skip"],
    "Where input cannot be used: stop, which names all of it and writes nothing, or skip, which "
    "leaves it out and lists it.",
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace a data set of the same name.")
_CLASSES = flags.DEFINE_list(
    "classes", [], "Class names in the order of their labels; by default all that occur."
)
_DROP_OTHERS = flags.DEFINE_bool(
    "drop_others", False, "Leave out objects of other classes than --classes."
)
_NUM_TRAIN = flags.DEFINE_integer("num_train", 4000, "scenes: how many in train.", lower_bound=1)
_NUM_VAL = flags.DEFINE_integer("num_val", 400, "scenes: how many in val.", lower_bound=1)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", None, "scenes: side in pixels; by default 256 of shapes, 224 of image folders."
)
_OBJECT_SIZE = flags.DEFINE_list(
    "object_size",
    None,
    "scenes: smallest and largest object, as part of the side; by default 0.1,0.667 of shapes, "
    "0.286,0.286 (64 of 224 pixels) of image folders.",
)
_MAX_OBJECTS = flags.DEFINE_integer(
    "max_objects", None, "scenes: most on one; by default 6 of shapes, 5 of image folders."
)
_MAX_OVERLAP = flags.DEFINE_float(
    "max_overlap", 0.2, "image_folder_scenes: largest IoU of two objects."
)
_SEED = flags.DEFINE_integer("seed", 0, "scenes: another seed gives others.")
_MAX_PICTURE_MIB = flags.DEFINE_integer(
    "max_picture_mib",
    images.DEFAULT_LIMIT_MIB,
    "The memory that one picture may take while it is decoded, 16 to 24 bytes a pixel; a picture "
    "whose header promises more is refused.",
    lower_bound=1,
)

_SHOWN_PROBLEMS = 20


def main(argv: list[str]) -> None:
    """Prepares a data set, and prints what is in it."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    logging.set_verbosity(logging.WARNING)  # TFDS reports each file
    console = Console()
    try:
        dataset = _open()
        recognised = len(dataset.notes)
        _print_notes(dataset.notes)
        summary = _prepare(dataset)
        _print_notes(dataset.notes[recognised:])
    except preparation.BadData as error:
        _print_problems(error.problems, "Nothing was written")
        sys.exit("Correct the input, or leave these out with --on_error skip.")
    except (ValueError, OSError) as error:
        sys.exit(f"error: {printable(str(error))}")
    _print_summary(console, dataset, summary)
    if summary.left_out:
        _print_problems(summary.left_out, "Left out")
        print(f"The whole list: {summary.folder / preparation.LEFT_OUT_FILE}", file=sys.stderr)


def run(argv: list[str]) -> None:
    """Runs the command under the limit of memory for a picture."""
    with images.memory_limit(_MAX_PICTURE_MIB.value):
        main(argv)


def _open() -> Dataset:
    if _FORMAT.value == "shapes":
        return shapes.ShapeScenes(**_scene_options())
    if not _SOURCE.value:
        raise app.UsageError(f"--format {_FORMAT.value} needs --source DIR")
    if _DROP_OTHERS.value and not _CLASSES.value:
        raise app.UsageError("--drop_others needs --classes")
    if _FORMAT.value == "image_folder_scenes":
        return folder_scenes.FolderScenes(
            _SOURCE.value,
            class_names=_CLASSES.value,
            max_overlap=_MAX_OVERLAP.value,
            **_scene_options(),
        )
    reader = {"voc": voc.VocFolder, "coco": coco.CocoFolder}[_FORMAT.value]
    return reader(_SOURCE.value, class_names=_CLASSES.value, drop_others=_DROP_OTHERS.value)


def _scene_options() -> dict[str, Any]:
    """Returns the given flags of generated scenes; others keep the generator's default."""
    options = {
        "num_train": _NUM_TRAIN.value,
        "num_val": _NUM_VAL.value,
        "image_size": _IMAGE_SIZE.value,
        "max_objects": _MAX_OBJECTS.value,
        "seed": _SEED.value,
    }
    if _OBJECT_SIZE.value:
        try:
            smallest, largest = (float(size) for size in _OBJECT_SIZE.value)
        except ValueError:
            raise ValueError(
                f"expected two numbers in --object_size, got {','.join(_OBJECT_SIZE.value)}"
            ) from None
        options["object_size"] = (smallest, largest)
    for name in ("image_size", "max_objects"):
        if options[name] is not None and options[name] < 1:
            raise ValueError(f"expected --{name} of at least 1, got {options[name]}")
    return {name: value for name, value in options.items() if value is not None}


def _prepare(dataset: Dataset) -> preparation.Summary:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks = {
            split: progress.add_task(split, total=size)
            for split, size in dataset.split_sizes.items()
        }
        return preparation.prepare(
            dataset,
            name=_NAME.value,
            data_dir=_DATA_DIR.value,
            on_error=_ON_ERROR.value,
            overwrite=_OVERWRITE.value,
            progress=lambda split, example: progress.advance(tasks[split]),
        )


def _print_summary(console: Console, dataset: Dataset, summary: preparation.Summary) -> None:
    splits = summary.splits
    # Text where a str would be read as markup, in a folder or a class called "[red] cell".
    table = Table(title=Text(f"{_NAME.value}: {summary.folder} ({summary.seconds:.1f} s)"))
    table.add_column("label", justify="right")
    table.add_column("class", no_wrap=True)
    for split in splits:
        table.add_column(Text(split), justify="right")
    for index, name in enumerate(dataset.class_names):
        counts = (str(split.objects_per_class[index]) for split in splits.values())
        table.add_row(str(index + 1), Text(name), *counts)
    table.add_section()
    rows = {
        "objects": lambda split: split.objects_per_class.total(),
        "difficult": lambda split: split.difficult,
        "crowds": lambda split: split.crowds,
        "images": lambda split: split.images,
        "  without objects": lambda split: split.images_without_objects,
        "  most objects": lambda split: split.max_objects,
        "  height (max)": lambda split: _sizes(split.sizes, 0),
        "  width (max)": lambda split: _sizes(split.sizes, 1),
        "object size": lambda split: _percentiles(split.relative_sizes),
    }
    for name, value in rows.items():
        table.add_row("", name, *(str(value(split)) for split in splits.values()))
    console.print(table)
    print(
        "Label 0 is background. Height and width are medians. Object size is the root of box area\n"
        "/ image area; 10, 50 and 90 in 100 objects are smaller.\n"
        f"Train on it with --config.data.train={_NAME.value}:SPLIT "
        f"--config.data.eval={_NAME.value}:SPLIT "
        f"--config.data.max_objects={max(split.max_objects for split in splits.values())}"
    )


def _sizes(sizes: list[tuple[int, int]], axis: int) -> str:
    lengths = [size[axis] for size in sizes]
    return f"{np.median(lengths):.0f} ({max(lengths)})" if lengths else "-"


def _percentiles(values: list[float]) -> str:
    return (
        " ".join(f"{value:.2f}" for value in np.percentile(values, (10, 50, 90))) if values else "-"
    )


def _print_notes(notes: Sequence[str]) -> None:
    for note in notes:
        print(f"{_FORMAT.value}: {printable(note)}", file=sys.stderr)


def _print_problems(problems: list[Problem], heading: str) -> None:
    print(f"{heading} because of {len(problems)} problem(s):", file=sys.stderr)
    for problem in problems[:_SHOWN_PROBLEMS]:
        print(f"  {problem}", file=sys.stderr)
    if len(problems) > _SHOWN_PROBLEMS:
        print(f"  ... and {len(problems) - _SHOWN_PROBLEMS} more", file=sys.stderr)


if __name__ == "__main__":
    flags.mark_flags_as_required(["format", "name"])
    with pipes.reader_may_leave():
        app.run(run)
