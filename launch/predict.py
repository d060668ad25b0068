"""Detects objects in pictures, draws them, and writes them as detections.json.

python -m launch.predict --workdir DIR --input FILE_OR_DIR [FILE_OR_DIR ...] --output DIR
python -m launch.predict --weights FILE ...    # that launch.import_weights wrote

--output is a new folder or an empty one: no file is written over. Each picture is drawn as a PNG of
its name, and detections.json grows with it, so that an interruption loses nothing. Of a file with
several pictures (GIF, MPO, TIFF) the first is read.

detections.json has COCO's results format. category_id is the number that the training data's
annotations give the class, and image_id is the picture's name, or its number where the name is one:
000000000139.jpg is 139, as in COCO (ssd_jax/data/picture_files.py has the rules for names that
collide).
"""

import pathlib
import sys
from collections.abc import Iterator

from absl import flags
from PIL import Image

from ssd_jax import draw
from ssd_jax.data import images, picture_files, plain_files
from ssd_jax.evaluate.coco_results import GrowingResults
from ssd_jax.predict import Picture, Predictor

from . import cli

WORKDIR, WEIGHTS = cli.define_trained()
INPUT = flags.DEFINE_multi_string(
    "input", [], "A picture, or a folder that is searched for pictures; may be repeated."
)
OUTPUT = flags.DEFINE_string(
    "output", None, "A new folder for the pictures and detections.json.", required=True
)
CHECKPOINT = flags.DEFINE_string("checkpoint", "latest", "latest, best, or a step.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 8, "Pictures at a time.", lower_bound=1)
MIN_SCORE = flags.DEFINE_float(
    "min_score", 0.4, "The least score that is drawn; detections.json has all detections."
)
MAX_PICTURE_MIB = cli.define_max_picture_mib()


def main() -> int:
    """Runs the command; returns 1 where some of the files could not be read."""
    try:
        files = picture_files.find([*INPUT.value, *cli.positional()])
    except ValueError as error:
        raise ValueError(f"--input: {error}") from None
    predictor = Predictor.load(
        WEIGHTS.value or WORKDIR.value, checkpoint=CHECKPOINT.value, batch_size=BATCH_SIZE.value
    )
    output = new_folder(pathlib.Path(OUTPUT.value))
    names = {file.image_id: file.name for file in files}
    unreadable = []

    def readable() -> Iterator[Picture]:
        for file in files:
            try:
                with images.memory_limit(MAX_PICTURE_MIB.value):
                    pixels = images.decode(file.path)
            except (ValueError, OSError) as error:
                unreadable.append(file.path)
                print(f"error: {error}", file=sys.stderr)
            else:
                yield Picture(file.image_id, pixels)

    done = 0
    results = GrowingResults(output / picture_files.RESULTS, category_ids=predictor.category_ids)
    try:
        with results:
            for picture, found in predictor(readable()):
                results.add(found)
                shown = found.scores >= MIN_SCORE.value
                kept = (found.boxes_xyxy[shown], found.labels[shown], found.scores[shown])
                drawn = draw.draw_detections(picture.image, *kept, predictor.class_names)
                save_new(drawn, output / f"{names[picture.image_id]}.png")
                done += 1
    except BaseException:
        print(
            f"stopped after {done} of {len(files)} pictures; what was found in them is in {output}",
            file=sys.stderr,
        )
        raise
    print(f"{done} pictures and detections.json are in {output}")
    if unreadable:
        print(f"{len(unreadable)} of {len(files)} files could not be read", file=sys.stderr)
    return 1 if unreadable else 0


def new_folder(path: pathlib.Path) -> pathlib.Path:
    """Makes the folder for the results.

    Raises:
        ValueError: where it holds something, or is no folder.
    """
    if path.is_dir() and any(path.iterdir()):
        raise ValueError(
            f"--output: {path} is not empty, and results are neither written over files nor mixed "
            "with others; name a new folder"
        )
    if path.exists() and not path.is_dir():
        raise ValueError(f"--output: {path} is {plain_files.file_kind(path)}; name a new folder")
    path.mkdir(parents=True, exist_ok=True)
    return path


def save_new(picture: Image.Image, path: pathlib.Path) -> None:
    """Writes a PNG where no file is yet, all of it or nothing."""
    with path.open("xb") as file:
        try:
            picture.save(file, "PNG")
            file.flush()
        except BaseException as error:
            path.unlink()
            if isinstance(error, OSError):  # that of a full disk lacks the name
                raise OSError(error.errno, error.strerror, str(path)) from None
            raise


if __name__ == "__main__":
    cli.run(main)
