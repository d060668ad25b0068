"""Whether a run can go on as its command says: the config and the data of its last checkpoint."""

import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ssd_jax import config, settings
from ssd_jax.agreement import on_first_process
from ssd_jax.data.fingerprint import fingerprint
from ssd_jax.train import optimizer

log = logging.getLogger(__name__)

_INSTEAD = "Undo it, or begin a run in another workdir, which may take these weights with "


def fingerprints(experiment: config.Experiment) -> dict[str, str]:
    """Returns the checksums of a run's data, by the config's field."""
    fields = {"train": experiment.data.train, "eval": experiment.data.eval}
    return on_first_process(
        lambda: {
            name: fingerprint(spec, experiment.data.data_dir)
            for name, spec in fields.items()
            if spec
        }
    )


def notes(
    experiment: config.Experiment, data: Mapping[str, str], window: Sequence[dict[str, float]]
) -> dict[str, Any]:
    """Returns what a checkpoint keeps for `check`, and the report's open window."""
    return {"config": settings.to_dict(experiment), "fingerprints": data, "window": window}


def check(
    saved: Mapping[str, Any],
    experiment: config.Experiment,
    data: Mapping[str, str],
    workdir: pathlib.Path,
) -> None:
    """Checks that a run can go on, and reports what has changed since its checkpoint.

    Args:
        saved: the checkpoint's notes.
        experiment: to go on with.
        data: its fingerprints.
        workdir: of the run.

    Raises:
        ValueError: where the checkpoint holds another network or another optimizer's state, or the
            data are others; with the remedy.
    """
    old = config.resolve(saved["config"])
    changes = config.differences(old, experiment)
    lines = {name: f"config.{name}: {a!r} -> {b!r}" for name, (a, b) in changes.items()}
    instead = f"{_INSTEAD}--config.init_from={workdir}"

    fixed = [line for name, line in lines.items() if config.is_fixed_in_a_run(experiment, name)]
    if fixed:
        raise ValueError(
            f"{workdir} holds a run of another network; take another workdir, or undo "
            + "; ".join(fixed)
        )
    if misfits := [lines[name] for name in _changes_of_state(old, experiment)]:
        raise ValueError(
            f"{workdir}: what its optimizer has in memory does not fit {'; '.join(misfits)}. "
            f"{instead}"
        )
    if "train.seed" in lines:
        raise ValueError(
            f"{workdir}: another seed is another order of the data, {lines['train.seed']}. "
            f"{instead}"
        )
    for field, spec in (("train", experiment.data.train), ("eval", experiment.data.eval)):
        then, now = saved.get("fingerprints", {}).get(field), data.get(field)
        # Evaluating on something else on the way is a choice; training is not: the position in
        # the data would be one in others.
        chosen = field == "eval" and "data.eval" in lines
        if then is not None and now != then and not chosen:
            was = lines.get(f"data.{field}", f"config.data.{field}={spec}")
            raise ValueError(
                f"{workdir}: the data are not those that the run began with ({was}, in "
                f"{experiment.data.data_dir}): they were prepared again, or are others. Prepare "
                "them as they were, or begin a run in another workdir, which may take these "
                f"weights with --config.init_from={workdir}"
            )
    for line in lines.values():
        log.warning("Changed since this run began: %s", line)


def _changes_of_state(old: config.Experiment, new: config.Experiment) -> list[str]:
    """Returns the fields whose change gives the saved state another form."""
    before, after = optimizer.memory(old.optimizer), optimizer.memory(new.optimizer)
    changed = [f"optimizer.{name}" for name in before if before[name] != after[name]]
    if (old.train.ema_decay > 0) != (new.train.ema_decay > 0):
        changed.append("train.ema_decay")
    return changed
