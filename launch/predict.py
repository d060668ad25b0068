"""Draws what a trained detector finds in pictures, and writes it as detections.json.

python -m launch.predict --workdir DIR --input FILE_OR_DIR [FILE_OR_DIR ...] --output DIR
python -m launch.predict --weights FILE ...    # that launch.import_weights wrote
"""

import collections
import pathlib
import sys
from collections.abc import Iterator

from absl import flags
from PIL import Image

from ssd_jax import draw
from ssd_jax.data import images
from ssd_jax.evaluate.coco_results import write_coco_results
from ssd_jax.predict import Picture, Predictor

from . import cli

WORKDIR, WEIGHTS = cli.define_trained()
INPUT = flags.DEFINE_multi_string(
    "input", [], "A picture, or a folder that is searched for pictures; may be repeated."
)
OUTPUT = flags.DEFINE_string("output", None, "Receives the pictures and detections.json.")
flags.mark_flag_as_required("output")
CHECKPOINT = flags.DEFINE_string("checkpoint", "latest", "latest, best, or a step.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 8, "Pictures at a time.", lower_bound=1)
MIN_SCORE = flags.DEFINE_float(
    "min_score", 0.4, "Of the detections that are drawn; detections.json has all."
)


def find_pictures(inputs: list[str]) -> list[pathlib.Path]:
    """Returns the picture files of the inputs, folders searched to their depth, in order.

    Raises:
      ValueError: for an input that is not there, or where there is no picture at all.
    """
    found: dict[pathlib.Path, None] = {}
    suffixes = set(Image.registered_extensions())
    for name in inputs:
        path = pathlib.Path(name)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes)
            found |= dict.fromkeys(inside)
        elif path.is_file():
            found[path] = None
        else:
            raise ValueError(f"--input: no file or folder {name}")
    if not found:
        raise ValueError(f"--input: no pictures in {', '.join(inputs) or 'nothing: name some'}")
    return list(found)


def image_ids(paths: list[pathlib.Path]) -> list[str]:
    """Returns a name for each file: its own without the suffix, its path where two are the same."""
    times = collections.Counter(path.stem for path in paths)
    return [p.stem if times[p.stem] == 1 else p.as_posix().replace("/", "_") for p in paths]


def main() -> int:
    """Runs the command; 1 when some of the files could not be read, the rest being done."""
    paths = find_pictures([*INPUT.value, *cli.positional()])
    if WEIGHTS.value:
        predictor = Predictor.from_file(pathlib.Path(WEIGHTS.value), batch_size=BATCH_SIZE.value)
    else:
        predictor = Predictor.from_workdir(
            pathlib.Path(WORKDIR.value), which=CHECKPOINT.value, batch_size=BATCH_SIZE.value
        )
    output = pathlib.Path(OUTPUT.value)
    output.mkdir(parents=True, exist_ok=True)
    unreadable = []

    def readable() -> Iterator[Picture]:
        for path, image_id in zip(paths, image_ids(paths), strict=True):
            try:
                yield Picture(image_id, images.decode(path.read_bytes()))
            except (ValueError, OSError) as error:
                unreadable.append(path)
                print(f"error: {path}: {error}", file=sys.stderr)

    detections = []
    for picture, found in predictor(readable()):
        shown = found.scores >= MIN_SCORE.value
        draw.draw_detections(
            picture.image,
            found.boxes_xyxy[shown],
            found.labels[shown],
            found.scores[shown],
            predictor.class_names,
        ).save(output / f"{picture.image_id}.png")
        detections.append(found)
    write_coco_results(output / "detections.json", detections)
    print(f"{len(detections)} pictures and detections.json are in {output}")
    if unreadable:
        print(f"{len(unreadable)} of {len(paths)} files could not be read", file=sys.stderr)
    return 1 if unreadable else 0


if __name__ == "__main__":
    cli.run(main)
