import math

from ssd_jax.checkpoints.best import ranked


def test_the_highest_is_best_and_of_equals_the_earlier():
    assert ranked({2: 0.1, 4: 0.3, 6: 0.3, 8: 0.2}) == [4, 6, 8, 2]


def test_what_is_not_known_ranks_last_the_newest_first():
    assert ranked({2: math.nan, 4: math.nan, 6: 0.0, 8: math.inf}) == [6, 8, 4, 2]
