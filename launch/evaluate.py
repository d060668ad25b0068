"""Scores a trained detector by VOC and COCO rules.

python -m launch.evaluate --workdir DIR [--config configs/X.py] [--split NAME:SPLIT]
python -m launch.evaluate --weights FILE [--split NAME:SPLIT] [--data_dir datasets]
"""

import dataclasses
import pathlib
from typing import NamedTuple

import jax
from absl import flags
from jaxtyping import PyTree

from launch import cli
from ssd_jax import config, detectors
from ssd_jax.evaluate.evaluator import Evaluator
from ssd_jax.pretrained import detector_file
from ssd_jax.train import checkpoint

CONFIG = cli.define_config()
WORKDIR, WEIGHTS = cli.define_trained()
SPLIT = flags.DEFINE_string(
    "split", "", "NAME:SPLIT of a prepared data set; default the config's data.eval."
)
DATA_DIR = flags.DEFINE_string("data_dir", "", "Its folder; default the config's data.data_dir.")
OUTPUT = flags.DEFINE_string(
    "output",
    "",
    "Where metrics.json goes; default WORKDIR/evaluation/metrics.json, and for --weights "
    "NAME_evaluation/metrics.json beside the file.",
)
CHECKPOINT = flags.DEFINE_string("checkpoint", "latest", "latest, best, or a step.")
cli.define_distributed()


class Trained(NamedTuple):
    """What is to be scored."""

    experiment: config.Experiment
    variables: PyTree
    folder: pathlib.Path  # for the figures


def main() -> int:
    """Runs the command."""
    cli.initialize_distributed()
    trained = from_file() if WEIGHTS.value else from_workdir()
    experiment = trained.experiment
    if DATA_DIR.value:
        data = dataclasses.replace(experiment.data, data_dir=DATA_DIR.value)
        experiment = dataclasses.replace(experiment, data=data)
    evaluator = Evaluator(experiment, detectors.build(experiment), source=SPLIT.value)
    evaluation = evaluator.run(trained.variables)
    if jax.process_index() == 0:
        evaluation.print_table()
        output = pathlib.Path(OUTPUT.value) if OUTPUT.value else trained.folder / "metrics.json"
        evaluation.write(trained.folder, metrics_path=output)
        evaluation.write_plots(trained.folder)
        print(f"{evaluation.summary()}\nwritten to {output}")
    return 0


def from_workdir() -> Trained:
    """Returns a run's checkpoint, with the run's config or --config."""
    workdir = pathlib.Path(WORKDIR.value)
    trained = config.load(workdir / config.FILE)
    experiment = cli.experiment_from(CONFIG, workdir)
    experiment = config.with_classes(
        experiment, trained.class_names, str(workdir), trained.category_ids
    )
    variables = checkpoint.load_variables(workdir, which=CHECKPOINT.value)
    return Trained(experiment, variables, workdir / "evaluation")


def from_file() -> Trained:
    """Returns an imported detector, which brings its config."""
    if CONFIG.value is not None:
        raise ValueError("--config: the file of --weights brings its own; leave it away")
    path = pathlib.Path(WEIGHTS.value)
    return Trained(*detector_file.load(path), path.with_name(f"{path.stem}_evaluation"))


if __name__ == "__main__":
    cli.run(main)
