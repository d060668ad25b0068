"""Finished, failed and unfinished trials, written without training."""

import json

from configs import quickstart
from ssd_jax import config
from ssd_jax.sweeps import plan as trials
from ssd_jax.sweeps.folder import SweepFolder

PER_CLASS = {"circle": {"AP_11point": 0.5}}


def plan(*overrides, common=None):
    base = quickstart.get_config().to_dict()
    file = trials.SweepFile("y.py", "", common or {}, overrides)
    return trials.plan(base, file, {}).trials


def write(folder: SweepFolder, trial, mean_ap=None, *, step=None, small=None):
    """Writes what a run leaves: finished where it has an mAP, else at `step`."""
    workdir = folder.workdir(trial)
    workdir.mkdir(parents=True, exist_ok=True)
    config.save(trial.experiment, workdir / config.FILE)
    steps = trial.experiment.train.steps
    lines = [{"step": steps if step is None else step, "group": "train"}]
    if mean_ap is not None:
        scores = {"mAP": mean_ap, "AP": mean_ap / 2, "AP50": mean_ap, "APs": small, "APm": 0.1}
        (workdir / "evaluation").mkdir(exist_ok=True)
        text = json.dumps({**scores, "APl": 0.3, "per_class": PER_CLASS})
        (workdir / "evaluation" / "metrics.json").write_text(text)
        lines.append({"step": steps, "group": "evaluation"})
    (workdir / "metrics.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in lines))


def progress(folder, made):
    return [folder.progress(trial) for trial in made]
