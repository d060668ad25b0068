"""The largest batch that a chip's memory holds, in as few compilations as a bisection needs."""

from collections.abc import Callable
from typing import NamedTuple


class Largest(NamedTuple):
    """What the search found."""

    images: int  # on each device; 0 where not even one fits
    tried: dict[int, bool]  # whether each number of images fits, in the order of the trials


def search(fits: Callable[[int], bool], start: int, most: int = 1 << 16) -> Largest:
    """Returns the largest number of images a device that fits, to within an eighth.

    It doubles or halves until one fits and its double does not, and bisects three times more.

    Args:
        fits: compiles with a number of images and says whether they fit.
        start: the first to try.
        most: never try more than this.
    """
    tried: dict[int, bool] = {}

    def ask(images: int) -> bool:
        if images not in tried:
            tried[images] = fits(images)
        return tried[images]

    low = start
    while low and not ask(low):
        low //= 2
    if not low:
        return Largest(0, tried)
    high = 2 * low
    while high <= most and ask(high):
        low, high = high, 2 * high
    while high - low > max(1, low // 8) and high <= most:
        middle = (low + high) // 2
        if ask(middle):
            low = middle
        else:
            high = middle
    return Largest(low, tried)
