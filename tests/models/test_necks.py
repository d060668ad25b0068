import jax
import jax.numpy as jnp
import pytest

from ssd_jax.models.deconvolution import Deconvolution
from ssd_jax.models.necks import NECKS, NoNeck
from ssd_jax.models.style import Style
from ssd_jax.models.transfer_connections import TransferConnections

MAPS = [jax.ShapeDtypeStruct((1, n, n, 8 * n), jnp.float32) for n in (8, 4, 2)]


def run(neck, maps=MAPS):
    module = neck.module(Style(width=0.125))
    return jax.eval_shape(
        lambda *x: module.init_with_output(jax.random.key(0), x, train=False), *maps
    )


@pytest.mark.parametrize("name", list(NECKS))
def test_every_neck_returns_as_many_maps_of_the_same_sizes(name):
    found, _ = run(NECKS[name]())
    assert [x.shape[:3] for x in found] == [x.shape[:3] for x in MAPS]


def test_channels_are_the_necks_own_times_the_width():
    found, variables = run(NoNeck())
    assert [x.shape for x in found] == [x.shape for x in MAPS]
    assert not variables
    found, _ = run(TransferConnections(512))
    assert {x.shape[3] for x in found} == {64}
    # The deepest map passes unchanged.
    found, _ = run(Deconvolution(channels=256))
    assert [x.shape[3] for x in found] == [32, 32, 16]


@pytest.mark.parametrize("name", ["deconvolution", "transfer_connections"])
def test_maps_that_do_not_halve_are_named(name):
    maps = [jax.ShapeDtypeStruct((1, n, n, 8), jnp.float32) for n in (9, 4)]
    with pytest.raises(ValueError, match=r"maps of \(9, 9\) and \(4, 4\) follow each other"):
        run(NECKS[name](), maps)
