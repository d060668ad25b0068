"""Scores a trained detector by VOC and COCO rules.

python -m launch.evaluate --workdir DIR [--config configs/X.py] [--split NAME:SPLIT]
python -m launch.evaluate --weights FILE [--split NAME:SPLIT] [--data_dir datasets]
"""

import dataclasses
import pathlib

import jax
from absl import flags

from ssd_jax import config, detectors
from ssd_jax.checkpoints.trained import load
from ssd_jax.evaluate.evaluator import Evaluator

from . import cli, processes

CONFIG = cli.define_config()
WORKDIR, WEIGHTS = cli.define_trained()
SPLIT = flags.DEFINE_string(
    "split", "", "NAME:SPLIT of a prepared data set; by default the config's data.eval."
)
DATA_DIR = flags.DEFINE_string("data_dir", "", "Its folder; by default the config's data_dir.")
OUTPUT = flags.DEFINE_string(
    "output",
    "",
    "The path of metrics.json; by default WORKDIR/evaluation/metrics.json, and for --weights "
    "NAME_evaluation/metrics.json beside the file.",
)
CHECKPOINT = flags.DEFINE_string("checkpoint", "latest", "latest, best, or a step.")
processes.define()


def main() -> None:
    """Runs the command."""
    with processes.joined():
        _evaluate()
    return 0


def _evaluate() -> None:
    path = pathlib.Path(WEIGHTS.value or WORKDIR.value)
    trained = load(path, checkpoint=CHECKPOINT.value)
    experiment = trained.experiment
    if WEIGHTS.value and CONFIG.name is not None:
        raise ValueError("--config: the file of --weights brings its own; leave --config out")
    if CONFIG.name is not None:
        experiment = config.with_classes(
            config.resolve(CONFIG.value),
            experiment.class_names,
            str(path),
            experiment.category_ids,
        )
    if DATA_DIR.value:
        data = dataclasses.replace(experiment.data, data_dir=DATA_DIR.value)
        experiment = dataclasses.replace(experiment, data=data)
    folder = path / "evaluation" if path.is_dir() else path.with_name(f"{path.stem}_evaluation")
    evaluator = Evaluator(experiment, detectors.build(experiment), source=SPLIT.value)
    evaluation = evaluator.run(trained.variables)
    if jax.process_index() == 0:
        evaluation.print_table()
        output = pathlib.Path(OUTPUT.value) if OUTPUT.value else folder / "metrics.json"
        evaluation.write(folder, metrics_path=output)
        evaluation.write_plots(folder)
        print(f"{evaluation.summary()}\nwritten to {output}")


if __name__ == "__main__":
    cli.run(main)
