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
    """A TFDS builder for annotated pictures; arguments are those of `write`."""

    VERSION = tfds.core.Version(_VERSION)
    # TFDS looks beside a builder's code for the checksums of its downloads; there are none, and
    # the search needs a package (importlib_resources) that TFDS does not install.
    code_path = None

    def __init__(
        self,
        dataset: Dataset,
        splits: Mapping[str, Iterator[Example]],
        *,
        name: str,
        data_dir: pathlib.Path,
    ):
        self.name = name
        self._dataset = dataset
        self._splits = splits
        super().__init__(data_dir=data_dir, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        class_names = self._dataset.class_names
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
                            # From 0; `records` makes room for background.
                            "label": tfds.features.ClassLabel(names=class_names),
                            "is_difficult": np.bool_,
                            "is_crowd": np.bool_,
                            "area": np.float32,
                        }
                    ),
                }
            ),
            # The labels that detectors use, written out so that nobody has to guess them.
            metadata=tfds.core.MetadataDict(
                classes={str(i): name for i, name in enumerate(("background", *class_names))},
                category_ids=list(self._dataset.category_ids),
            ),
            disable_shuffling=True,  # the order of the split's list
        )

    def _split_generators(self, dl_manager) -> dict[str, Iterator[tuple[int, dict]]]:
        del dl_manager
        return {name: self._generate_examples(split) for name, split in self._splits.items()}

    def _generate_examples(self, examples: Iterator[Example]) -> Iterator[tuple[int, dict]]:
        return enumerate(map(_features, examples))


def write(
    dataset: Dataset,
    splits: Mapping[str, Iterator[Example]],
    *,
    name: str,
    data_dir: str | pathlib.Path,
    finish: Callable[[pathlib.Path], None] = lambda folder: None,
) -> pathlib.Path:
    """Writes a data set, all of it or nothing, and returns its folder.

    It is written beside its place under a hidden name and then renamed. So neither an exception
    nor an interruption leaves anything that reads as prepared, and only a complete data set
    replaces another of the same name.

    Args:
        dataset: the classes.
        splits: an iterator of examples per split; an exception in one of them ends the writing.
        name: the data set's name, in TFDS's snake case.
        data_dir: the folder of all data sets.
        finish: called with the complete folder before it gets its name; may add files to it, and
            raise an exception to refuse it.
    """
    data_dir = pathlib.Path(data_dir)
    data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".incomplete-{name}-", dir=data_dir) as hidden:
        builder = SceneBuilder(dataset, splits, name=name, data_dir=pathlib.Path(hidden))
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
    """Raises a ValueError for a folder with something else in it, which `write` would replace."""
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
