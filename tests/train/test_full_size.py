"""The released networks at full size: two steps and one detection, slow on a CPU."""

import resource

import jax
import numpy as np
import pytest

from configs import dssd, refinedet, ssd
from ssd_jax import config, sharding
from ssd_jax.train.run import Run
from ssd_jax.types import Batch


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "num_anchors"),
    [
        (ssd.get_config("300,voc"), 8732),
        (refinedet.get_config("320,vgg16,voc"), 6375),
        (refinedet.get_config("320,resnet101,voc"), 6375),
        (dssd.get_config("321,voc,dssd"), 17080),
    ],
    ids=["ssd300", "refinedet320", "refinedet320_resnet101", "dssd321"],
)
def test_it_steps_and_detects(values, num_anchors):
    values.model.num_classes = 21
    values.optimizer.frozen = ()  # of DSSD's second stage: all is trained, the most memory
    values.model.freeze_batch_norm = "nowhere"
    experiment = config.resolve(values)
    run = Run.from_experiment(experiment, jax.devices()[:1])
    detector, state = run.detector, run.init()
    assert detector.anchors.shape == (num_anchors, 4)
    rng = np.random.default_rng(0)
    batch = Batch(
        index=np.array([0], np.int32),
        canvas=rng.integers(0, 256, (1, 512, 512, 3), np.uint8),
        size=np.array([[375, 500]], np.int32),
        boxes_xyxy=np.array([[[0.1, 0.2, 0.6, 0.9]]], np.float32),
        labels=np.array([[7]], np.int32),
        valid=np.array([[True]]),
    )
    losses = []
    for _ in range(2):
        state, metrics = run.step(state, sharding.put_batch(run.mesh, batch), run.key)
        losses.append(float(metrics.loss.total))
    assert np.isfinite(losses).all()
    predictions, _ = jax.jit(lambda v, x: detector.apply(v, x, train=False))(
        state.variables(), np.full((1, *detector.image_size, 3), 120, np.float32)
    )
    found = jax.jit(detector.detect)(predictions)
    assert found.boxes_xyxy.shape == (1, experiment.decoder.max_detections, 4)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 20 * 2**20  # KiB: 20 GiB
