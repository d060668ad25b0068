import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import refinedet
from ssd_jax import config, detectors
from ssd_jax.detectors.several_views import SeveralViews


@pytest.fixture
def experiment():
    values = refinedet.get_config("small,vgg16,voc")
    values.model.image_size = (64, 64)
    values.model.width = 0.02
    values.model.num_classes = 4
    values.anchors.min_sizes = (8.0, 16.0, 24.0, 40.0)
    # The scores of fresh weights are all near a quarter.
    values.decoder.score_threshold = 0.2
    return config.resolve(values)


def with_decoder(experiment, **changes):
    return dataclasses.replace(
        experiment, decoder=dataclasses.replace(experiment.decoder, **changes)
    )


def test_one_view_is_the_plain_detector(experiment):
    assert not isinstance(detectors.build(experiment), SeveralViews)


def test_views_share_the_parameters_and_training_sees_one(experiment):
    several = detectors.build(with_decoder(experiment, test_scales=(1.0, 2.0), test_flip=True))
    plain = detectors.build(experiment)
    assert several.image_size == (128, 128)
    variables = jax.jit(several.init)(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, variables, jax.jit(plain.init)(jax.random.key(0)))
    images = jnp.asarray(np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)), jnp.float32)
    ours, _ = several.apply(variables, images, train=True)
    theirs, _ = plain.apply(variables, images, train=True)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    large = jnp.asarray(np.random.default_rng(0).uniform(0, 255, (2, 128, 128, 3)), jnp.float32)
    predictions, _ = several.apply(variables, large, train=False)
    assert [p.offsets.shape[1] for p in predictions] == [255, 255, 1020, 1020]
    assert several.detect(predictions).valid.shape == (2, 200)


def test_flipped_detections_are_turned_back(experiment):
    """A picture and its mirror image have mirrored detections where both views are looked at."""
    several = detectors.build(with_decoder(experiment, test_flip=True))
    variables = jax.jit(several.init)(jax.random.key(1))
    images = jnp.asarray(np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)), jnp.float32)

    @jax.jit
    def detect(images):
        return several.detect(several.apply(variables, images, train=False)[0])

    def found(detections):
        boxes = np.asarray(detections.boxes_xyxy)[np.asarray(detections.valid)]
        return boxes[np.lexsort(np.round(boxes, 3).T)]

    straight, mirrored = detect(images), detect(images[:, :, ::-1])
    assert int(straight.valid.sum()) == int(mirrored.valid.sum()) > 3
    x0, y0, x1, y1 = np.moveaxis(np.asarray(mirrored.boxes_xyxy), -1, 0)
    back = mirrored._replace(boxes_xyxy=np.stack((1 - x1, y0, 1 - x0, y1), axis=-1))
    np.testing.assert_allclose(found(straight), found(back), atol=1e-4)


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ((), "expected factors above 0"),
        ((0.0,), "above 0"),
        ((1.1,), r"1\.1 makes the input 70 x 70"),
    ],
)
def test_scales_that_cannot_be(experiment, scales, message):
    with pytest.raises(ValueError, match=rf"ecoder\.test_scales: .*{message}"):
        detectors.build(with_decoder(experiment, test_scales=scales))
