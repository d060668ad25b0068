"""The compiled detection: what crosses between devices, which is nothing."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import refinedet
from ssd_jax import config, detectors
from ssd_jax.inference import make_detect_step
from ssd_jax.sharding import batch_split, data_mesh, put_batch, replicated, take_local

COLLECTIVE = re.compile(
    r"\b(all-(reduce|gather|to-all)|reduce-scatter|collective-\w+|send|recv)(-start)?\("
)


def small_refinedet():
    values = refinedet.get_config("small,vgg16,voc")
    values.model.image_size = (64, 64)
    values.model.width = 0.02
    values.anchors.min_sizes = (8.0, 16.0, 24.0, 40.0)
    return values


def build(values, **decoder):
    values.model.num_classes = 4
    values.decoder.update(decoder)
    return detectors.build(config.resolve(values))


def shapes(detector, batch):
    variables = jax.eval_shape(detector.init, jax.random.key(0))
    pictures = jax.ShapeDtypeStruct((batch, 64, 64, 3), jnp.uint8)
    return variables, pictures, jax.ShapeDtypeStruct((batch, 2), jnp.int32)


@pytest.mark.parametrize("decoder", [{}, {"soft_nms": True, "box_voting": True}], ids=str)
@pytest.mark.parametrize("name", ["ssd", "refinedet"])
def test_no_device_asks_another_one(tiny, name, decoder):
    detector = build(tiny if name == "ssd" else small_refinedet(), **decoder)
    mesh = data_mesh()
    assert mesh.size == 8
    text = make_detect_step(detector, mesh).lower(*shapes(detector, 8)).compile().as_text()
    assert "while(" in text  # the loop of the suppression
    assert not COLLECTIVE.findall(text)


def test_that_a_collective_would_be_seen():
    mesh = data_mesh()
    total = jax.jit(jnp.sum, in_shardings=batch_split(mesh), out_shardings=replicated(mesh))
    assert COLLECTIVE.search(total.lower(jnp.zeros(8)).compile().as_text())


def test_eight_devices_find_what_one_does(tiny):
    detector = build(tiny)
    variables = detector.init(jax.random.key(0))
    rng = np.random.default_rng(0)
    batch = (
        rng.integers(0, 256, (8, 64, 64, 3), np.uint8),
        np.tile(np.array([[64, 64]], np.int32), (8, 1)),
    )
    found = []
    for devices in (jax.devices()[:1], jax.devices()):
        mesh = data_mesh(devices)
        placed = jax.device_put(variables, replicated(mesh))
        detections = make_detect_step(detector, mesh)(placed, *put_batch(mesh, batch))
        assert {len(shard.data) for shard in detections.scores.addressable_shards} == {
            8 // len(devices)
        }
        found.append(take_local(detections))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *found)
    assert found[0].valid.any()


def test_rows_come_back_as_they_were_put():
    rows = np.arange(16).reshape(8, 2)
    np.testing.assert_array_equal(take_local(put_batch(data_mesh(), rows)), rows)
