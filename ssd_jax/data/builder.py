"""Writing annotated pictures as a TFDS data set in array_record files, without TensorFlow.

The features are those of TFDS's own `voc` and `coco` with what evaluation needs beside them, so
that `records` reads all of them the same way, and so can any other program that uses TFDS.
"""

import contextlib
import io
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tensorflow_datasets as tfds

from ssd_jax.data.examples import Dataset, Example

_VERSION = "1.0.0"


class SceneBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A TFDS builder for annotated pictures.

    Args:
        name: the data set's name, in TFDS's snake case.
        class_names: without background, in the order of their labels.
        category_ids: the number of each class in the original annotations.
        splits: an iterator of examples per split.
        data_dir: where data sets stand.
    """

    VERSION = tfds.core.Version(_VERSION)
    # TFDS looks beside a builder's code for the checksums of its downloads; there are none, and
    # the search needs a package (importlib_resources) that TFDS does not install.
    code_path = None

    def __init__(
        self,
        *,
        name: str,
        class_names: tuple[str, ...],
        category_ids: tuple[int, ...],
        splits: Mapping[str, Iterator[Example]],
        data_dir: pathlib.Path,
    ):
        self.name = name
        self._class_names = class_names
        self._category_ids = category_ids
        self._splits = splits
        super().__init__(data_dir=data_dir, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        label = tfds.features.ClassLabel(names=self._class_names)
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{self.name}: annotated pictures, prepared by ssd_jax.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(),  # encoded, as it was in its file
                    "image/filename": tfds.features.Text(),
                    "image/id": tfds.features.Text(),
                    "image/height": np.int32,  # upright, like the boxes
                    "image/width": np.int32,
                    "objects": tfds.features.Sequence(
                        {
                            "bbox": tfds.features.BBoxFeature(),
                            "label": label,  # from 0; `records` makes room for background
                            "is_difficult": np.bool_,
                            "is_crowd": np.bool_,
                            "area": np.float32,
                        }
                    ),
                }
            ),
            # The labels that detectors use, written out so that nobody has to guess them.
            metadata=tfds.core.MetadataDict(
                classes={
                    str(label): name
                    for label, name in enumerate(("background", *self._class_names))
                },
                category_ids=list(self._category_ids),
            ),
            disable_shuffling=True,  # the order of the split's list
        )

    def _split_generators(self, dl_manager) -> dict[str, Iterator[tuple[int, dict]]]:
        del dl_manager
        return {name: self._generate_examples(split) for name, split in self._splits.items()}

    def _generate_examples(self, examples: Iterator[Example]) -> Iterator[tuple[int, dict]]:
        for key, example in enumerate(examples):
            yield key, _features(example)


def write(
    dataset: Dataset,
    splits: Mapping[str, Iterator[Example]],
    *,
    name: str,
    data_dir: str | pathlib.Path,
    finish: Callable[[pathlib.Path], None] = lambda folder: None,
) -> pathlib.Path:
    """Writes a data set, all of it or nothing.

    It is written beside its place under a hidden name and then renamed, so neither an exception
    nor an interruption leaves anything that reads as prepared, and a data set of the same name is
    replaced only by a complete one.

    Args:
        dataset: the classes.
        splits: an iterator of examples per split; an exception in one of them ends the writing.
        name: the data set's name.
        data_dir: where data sets stand.
        finish: called with the complete folder before it gets its name; may add files to it, and
            refuse by an exception.

    Returns:
        The folder of the data set.
    """
    data_dir = pathlib.Path(data_dir)
    data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".incomplete-{name}-", dir=data_dir) as hidden:
        builder = SceneBuilder(
            name=name,
            class_names=dataset.class_names,
            category_ids=dataset.category_ids,
            splits=splits,
            data_dir=pathlib.Path(hidden),
        )
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS speaks of downloads
            tfds.disable_progress_bar()
            builder.download_and_prepare()
        written = pathlib.Path(builder.data_dir)
        finish(written)
        folder = data_dir / name
        if folder.exists():
            folder.rename(pathlib.Path(hidden) / "replaced")
        written.parent.rename(folder)
    return folder / _VERSION


def check_replaceable(folder: pathlib.Path) -> None:
    """Refuses a folder that `write` would replace although it holds something else.

    Raises:
        ValueError: with what it holds.
    """
    if not folder.exists():
        return
    inside = list(folder.iterdir()) if folder.is_dir() else [folder]
    if others := [path.name for path in inside if not (path / "features.json").is_file()]:
        raise ValueError(
            f"builder.check_replaceable: {folder} holds what launch.prepare did not write "
            f"({min(others)}); choose another name, or move it away"
        )


def _features(example: Example) -> dict:
    x0, y0, x1, y1 = example.boxes_xyxy.T
    return {
        "image": example.image,
        "image/filename": example.filename,
        "image/id": example.image_id,
        "image/height": example.height,
        "image/width": example.width,
        "objects": {
            "bbox": np.stack((y0, x0, y1, x1), axis=-1),
            "label": example.labels,
            "is_difficult": example.difficult,
            "is_crowd": example.crowd,
            "area": example.area.astype(np.float32),
        },
    }
