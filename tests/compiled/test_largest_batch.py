"""The search for the largest batch."""

import pytest

from ssd_jax.compiled import largest_batch


@pytest.mark.parametrize("limit", [1, 7, 31, 32, 33, 100, 1000])
@pytest.mark.parametrize("start", [1, 8, 32])
def test_it_is_within_an_eighth(limit, start):
    found = largest_batch.search(lambda images: images <= limit, start)
    assert found.tried[found.images]
    assert found.images <= limit
    assert limit - found.images < max(1, limit / 8)
    assert all(fits == (images <= limit) for images, fits in found.tried.items())
    assert len(found.tried) <= 15


def test_none_fits():
    found = largest_batch.search(lambda images: False, 8)
    assert found == largest_batch.Largest(0, {8: False, 4: False, 2: False, 1: False})


def test_it_ends_where_everything_fits():
    assert largest_batch.search(lambda images: True, 3, most=100).images == 96
