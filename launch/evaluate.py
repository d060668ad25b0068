"""Scores a trained detector by VOC and COCO rules.

python -m launch.evaluate --workdir DIR [--config configs/X.py] [--split NAME:SPLIT]
"""

import pathlib

import jax
from absl import flags

from launch import cli
from ssd_jax import config, detectors
from ssd_jax.evaluate.evaluator import Evaluator
from ssd_jax.train import checkpoint

CONFIG = cli.define_config()
WORKDIR = cli.define_workdir()
SPLIT = flags.DEFINE_string(
    "split", "", "NAME:SPLIT of a prepared data set; default the config's data.eval."
)
OUTPUT = flags.DEFINE_string(
    "output", "", "Where metrics.json goes; default WORKDIR/evaluation/metrics.json."
)
CHECKPOINT = flags.DEFINE_string("checkpoint", "latest", "latest, best, or a step.")
cli.define_distributed()


def main() -> int:
    """Runs the command."""
    cli.initialize_distributed()
    workdir = pathlib.Path(WORKDIR.value)
    trained = config.load(workdir / config.FILE)
    experiment = cli.experiment_from(CONFIG, workdir)
    experiment = config.with_classes(experiment, trained.class_names, str(workdir))
    variables = checkpoint.load_variables(workdir, which=CHECKPOINT.value)
    evaluator = Evaluator(experiment, detectors.build(experiment), source=SPLIT.value)
    evaluation = evaluator.run(variables)
    if jax.process_index() == 0:
        evaluation.print_table()
        folder = workdir / "evaluation"
        output = pathlib.Path(OUTPUT.value) if OUTPUT.value else folder / "metrics.json"
        evaluation.write(folder, metrics_path=output)
        evaluation.write_plots(folder)
        print(f"{evaluation.summary()}\nwritten to {output}")
    return 0


if __name__ == "__main__":
    cli.run(main)
