"""Which evaluated checkpoints are the best."""

import math
from collections.abc import Mapping


def ranked(metrics: Mapping[int, float]) -> list[int]:
    """Returns steps, the best first.

    Of equal metrics the earlier step is better: a later one has to surpass it. A metric that is
    not finite ranks last, the newest first.

    Args:
        metrics: by step; the higher the better.
    """

    def rank(step: int) -> tuple[bool, float, int]:
        metric = metrics[step]
        if not math.isfinite(metric):
            return (True, 0.0, -step)
        return (False, -metric, step)

    return sorted(metrics, key=rank)
