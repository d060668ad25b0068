"""The anchor coverage of a sweep's settings, measured once each and kept in the sweep's folder."""

import json
import logging
import math
import pathlib
from collections.abc import Iterable

from ssd_jax import config
from ssd_jax.coverage import annotations, measure
from ssd_jax.detectors import anchor_spec
from ssd_jax.sweeps.plan import Trial
from ssd_jax.sweeps.results import COVERAGE

log = logging.getLogger(__name__)


def of_settings(trials: Iterable[Trial], folder: pathlib.Path) -> dict[str, dict[str, float]]:
    """Returns the figures of each setting's anchors on the objects that it trains on, by its name.

    Settings with the same anchors share a measurement, and the folder keeps them. A setting whose
    anchors cannot be measured is left out, with a warning.
    """
    path = folder / "coverage.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    boxes: dict[tuple[str, str], annotations.BoxSet] = {}
    found = {}
    for trial in trials:
        data = trial.experiment.data
        source = data.train, data.data_dir
        try:
            key = _key(trial.experiment)
            if key not in known:
                if source not in boxes:
                    boxes[source] = annotations.read([data.train], data.data_dir)
                known[key] = _figures(measure.measure(trial.experiment, boxes[source]))
                path.write_text(json.dumps(known, indent=2) + "\n")
        except ValueError as error:
            log.warning("No coverage of %s: %s", trial.setting, error)
            continue
        found[trial.setting] = known[key]
    return found


def _key(experiment: config.Experiment) -> str:
    """Returns as text all that the coverage depends on: data, anchors and matching."""
    loss, data = experiment.loss, experiment.data
    return repr((data.train, anchor_spec(experiment), loss.iou_threshold, loss.border_anchors))


def _figures(measured: measure.Coverage) -> dict[str, float]:
    """Returns the figures without NaN, which JSON lacks: of a size that no object has."""
    figures = {**measured.figures(), "anchors": float(measured.spec.num_anchors)}
    return {name: figures[name] for name in COVERAGE if not math.isnan(figures[name])}
