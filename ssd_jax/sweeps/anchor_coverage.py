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

FILE = "coverage.json"


def of_settings(trials: Iterable[Trial], folder: pathlib.Path) -> dict[str, dict[str, float]]:
    """Returns the figures of each setting's anchors on the objects that it trains on, by its name.

    Settings with the same anchors share a measurement. What was measured before is read from the
    folder. A setting whose anchors cannot be measured is left out, with a warning.
    """
    path = folder / FILE
    known = json.loads(path.read_text()) if path.exists() else {}
    read: dict[tuple[str, str], annotations.BoxSet] = {}
    found = {}
    for trial in trials:
        data = trial.experiment.data
        source = data.train, data.data_dir
        try:
            key = _key(trial.experiment)
        except ValueError as error:
            log.warning("No coverage of %s: %s", trial.setting, error)
            continue
        if key not in known and trial.setting not in found:
            try:
                if source not in read:
                    read[source] = annotations.read([data.train], data.data_dir)
                measured = measure.measure(trial.experiment, read[source])
            except ValueError as error:
                log.warning("No coverage of %s: %s", trial.setting, error)
                continue
            figures = {**measured.figures(), "anchors": float(measured.spec.num_anchors)}
            # NaN is no JSON: of an object size that the data set has none of, nothing is kept.
            known[key] = {k: figures[k] for k in COVERAGE if not math.isnan(figures[k])}
            path.write_text(json.dumps(known, indent=2) + "\n")
        if key in known:
            found[trial.setting] = known[key]
    return found


def _key(experiment: config.Experiment) -> str:
    """Returns what the coverage depends on, as text: the anchors themselves and the matching."""
    loss, data = experiment.loss, experiment.data
    return repr((data.train, anchor_spec(experiment), loss.iou_threshold, loss.border_anchors))
