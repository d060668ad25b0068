"""The ranking of evaluated checkpoints."""

import math
from collections.abc import Mapping


def ranked(metrics: Mapping[int, float]) -> list[int]:
    """Returns the steps of some metrics, the best first; a higher metric is better.

    Of equal metrics the earlier step is better: a later one has to surpass it. Metrics that are not
    finite rank last, the newest first.
    """

    def rank(step: int) -> tuple[bool, float, int]:
        metric = metrics[step]
        if not math.isfinite(metric):
            return (True, 0.0, -step)
        return (False, -metric, step)

    return sorted(metrics, key=rank)
