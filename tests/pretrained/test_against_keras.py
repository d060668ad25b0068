"""Keras's VGG16, with random weights, through both of its HDF5 forms: the same maps.

Runs where Keras is installed, on any backend; last with 3.15.1 on JAX.
"""

import flax.traverse_util
import jax
import numpy as np
import pytest

from ssd_jax import weight_files as files
from ssd_jax.models.style import Style
from ssd_jax.models.vgg import VGG16
from ssd_jax.pretrained import known, vgg16

keras = pytest.importorskip("keras", reason="Keras is not installed")


# Keras calls the older form legacy.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["x.h5", "x.weights.h5"])
def test_maps_are_the_same(name, tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.applications.VGG16(weights=None)
    (model.save_weights if "weights" in name else model.save)(tmp_path / name)
    arrays = files.read(tmp_path / name)
    family = known.find(arrays)
    assert "Keras 3" in family.name
    converted = family.convert(arrays, vgg16.CAFFE_INPUT)
    tree = flax.traverse_util.unflatten_dict(converted, sep="/")["params"]["backbone"]

    pixels = np.random.default_rng(0).uniform(0, 255, (1, 224, 224, 3)).astype(np.float32)
    images = keras.applications.vgg16.preprocess_input(pixels.copy())
    layers = [model.get_layer(f"block{block}_conv3").output for block in (3, 4, 5)]
    expected = keras.Model(model.input, layers)(images)
    found = jax.jit(lambda p, x: VGG16().module(Style()).apply({"params": p}, x, train=False))(
        tree, images
    )
    for ours, theirs in zip(("conv3_3", "conv4_3", "conv5_3"), expected, strict=True):
        theirs = np.asarray(theirs)
        assert np.abs(np.asarray(found[ours]) - theirs).max() <= 1e-4 * np.abs(theirs).max()
    fc1, bias = model.get_layer("fc1").get_weights()
    # Output 4 o, tap (3 i, 3 j), input channel c.
    kernel = np.asarray(tree["fc6"]["conv"]["kernel"])
    for o, c, i, j in [(0, 0, 0, 0), (1023, 511, 2, 2), (17, 300, 1, 2)]:
        assert kernel[i, j, c, o] == fc1[(3 * i * 7 + 3 * j) * 512 + c, 4 * o]
    np.testing.assert_array_equal(tree["fc6"]["conv"]["bias"], bias[::4])
