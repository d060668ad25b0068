"""The trials of a sweep: its overrides on a config, checked, named, and as flags of a command."""

import copy
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ssd_jax import config, python_files, settings
from ssd_jax.sweeps.overrides import SEED, Overrides

NAME = "config.name"
_LONGEST_NAME = 100


class SweepFile(NamedTuple):
    """The contents of a sweep file."""

    path: str
    config: str  # its own config, with the variant; "" for none
    common: Overrides  # of every trial
    trials: tuple[Overrides, ...]


@dataclasses.dataclass(frozen=True)
class Trial:
    """One run of a sweep."""

    name: str  # of its folder, from its overrides: the same whatever other trials there are
    setting: str  # the name without the seed
    overrides: Mapping[str, Any]  # what the sweep file sets for this trial
    experiment: config.Experiment  # the resolved config

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return self.experiment.train.seed


class Plan(NamedTuple):
    """The trials of a sweep."""

    trials: tuple[Trial, ...]
    duplicates: int  # trials that were the same as an earlier one, and are left out


def read(path: str) -> SweepFile:
    """Runs a sweep file.

    Raises:
        ValueError: where there is no such file, or it fails or does not return overrides.
    """
    module = python_files.load(path, "--sweep")
    try:
        if not hasattr(module, "get_sweep"):
            raise ValueError("expected it to define get_sweep()")
        trials = tuple(module.get_sweep())
    except Exception as error:
        raise ValueError(f"{path}: {type(error).__name__}: {error}") from error
    common = getattr(module, "COMMON", {})
    for where, overrides in [("COMMON", common), *_numbered(trials)]:
        if not isinstance(overrides, dict) or not all(isinstance(x, str) for x in overrides):
            raise ValueError(
                f"{path}, {where}: expected a dict of {{'config.group.field': value}}, got "
                f"{overrides!r}"
            )
    if not trials:
        raise ValueError(f"{path}: get_sweep() returned no trial")
    return SweepFile(path, getattr(module, "CONFIG", ""), common, trials)


def plan(base: dict[str, Any], sweep: SweepFile, from_command: Overrides) -> Plan:
    """Returns the trials of a sweep on a config.

    Args:
        base: the config as nested dicts.
        sweep: the sweep file; a trial's overrides stand above the common ones.
        from_command: the command line's overrides, which stand above the sweep file's.

    Raises:
        ValueError: for an unknown field (with the nearest valid one) or a value of another type,
            naming the sweep file and the trial; or for two trials of one name.
    """
    trials: dict[str, Trial] = {}
    seen: list[config.Experiment] = []
    duplicates = 0
    for where, overrides in _numbered(sweep.trials):
        try:
            values = copy.deepcopy(base)
            config.override(values, {**sweep.common, **overrides, **from_command})
            experiment = config.resolve(values)
        except ValueError as error:
            raise ValueError(f"{sweep.path}, {where}: {error}") from None
        same = dataclasses.replace(experiment, name="")
        if same in seen:
            duplicates += 1
            continue
        seen.append(same)
        setting = _setting_name(overrides)
        name = f"{setting},seed={experiment.train.seed}"
        if name in trials:
            raise ValueError(
                f"{sweep.path}, {where}: another trial is called {name}, but its config is "
                f"different; give them different values of {NAME}"
            )
        trials[name] = Trial(name, setting, overrides, experiment)
    return Plan(tuple(trials.values()), duplicates)


def flags(trial: Trial, sweep: SweepFile, from_command: Overrides) -> list[str]:
    """Returns the overrides of a trial as flags of a command, the command line's own last.

    Raises:
        ValueError: for a value that no flag can express.
    """
    given = (*sweep.common, *trial.overrides, *from_command)
    return [_flag(path, value_of(trial.experiment, path)) for path in dict.fromkeys(given)]


def _numbered(trials: Iterable[Any]) -> list[tuple[str, Any]]:
    return [(f"trial {i}", trial) for i, trial in enumerate(trials, start=1)]


def value_of(experiment: config.Experiment, path: str) -> Any:
    """Returns the value of a field by its path, as in an override; for a part its name."""
    value: Any = experiment
    for name in path.split(".")[1:]:
        if name == settings.NAME and not hasattr(value, name):
            break
        value = getattr(value, name)
    return settings.part_name(config.Experiment, value) or value


def _flag(path: str, value: Any) -> str:
    if value is None:
        return f"--{path}=None"
    if dataclasses.is_dataclass(value):
        raise ValueError(f"{path}: expected a field or a part of the config, got a group of fields")
    return f"--{path}={value}"


def _setting_name(overrides: Overrides) -> str:
    """Returns the setting's `config.name`, or its overrides in short, safe in a folder's name."""
    if NAME in overrides:
        return _safe(str(overrides[NAME]))
    parts = {path: value for path, value in overrides.items() if path != SEED}
    if not parts:
        return "base"
    fields = [path.rpartition(".")[2] for path in parts]
    short = [
        field if fields.count(field) == 1 else path.removeprefix("config.")
        for path, field in zip(parts, fields, strict=True)
    ]
    each = zip(short, parts.values(), strict=True)
    text = ",".join(f"{name}={_safe(str(value))}" for name, value in each)
    if len(text) <= _LONGEST_NAME:
        return text
    whole = json.dumps(parts, sort_keys=True, default=str).encode()
    return f"{text[: _LONGEST_NAME - 9]}-{hashlib.sha256(whole).hexdigest()[:8]}"


def _safe(text: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", text).strip("_") or "none"
