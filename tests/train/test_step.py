import dataclasses

import jax
import numpy as np
import pytest

from ssd_jax import config, sharding
from ssd_jax.data import pipeline, records
from ssd_jax.train.run import Run
from ssd_jax.train.step import augment_batch

OPTIMISED = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}


def train(experiment, devices, steps, *, optimised=False):
    run = Run.from_experiment(experiment, devices)
    step, state = run.step, run.init()
    losses = []
    with run.batches() as batches:
        for number in range(steps):
            batch = sharding.put_batch(run.mesh, next(batches))
            if optimised and number == 0:
                step = step.lower(state, batch, run.key).compile(compiler_options=OPTIMISED)
            state, metrics = step(state, batch, run.key)
            losses.append(jax.device_get(metrics))
    return jax.device_get(state), losses


@pytest.fixture
def experiment(tiny):
    return config.resolve(tiny)


def test_one_device_and_eight_give_the_same_training(experiment):
    assert len(jax.devices()) == 8
    assert experiment.model.batch_norm
    # Compiled as users' programs are: without optimisation, rounding differs enough that nearly
    # equal losses change places at the cut of the mining.
    one, losses_one = train(experiment, jax.devices()[:1], 3, optimised=True)
    eight, losses_eight = train(experiment, jax.devices(), 3, optimised=True)
    for a, b in zip(losses_one, losses_eight, strict=True):
        np.testing.assert_allclose(a.loss, b.loss, rtol=1e-5)
    for name in ("params", "batch_stats"):
        jax.tree.map(
            # Sums in another order: what is nearly 0 differs by the rounding of its terms, which
            # for a map's mean are some units large.
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=5e-6),
            getattr(one, name),
            getattr(eight, name),
        )
    assert float(losses_one[0].loss.num_positives) > 8  # each of the 8 images has an object


def test_the_step_learns(experiment):
    # Without augmentation: 20 scenes, which even 8 channels can learn by heart.
    off = dict.fromkeys(("photometric", "crop", "expand", "flip"), False)
    augment = dataclasses.replace(experiment.augment, **off)
    optimizer = dataclasses.replace(experiment.optimizer, name="adam", learning_rate=1e-2)
    experiment = dataclasses.replace(experiment, augment=augment, optimizer=optimizer)
    _, figures = train(experiment, jax.devices()[:1], 40)
    totals = [float(f.loss.total) for f in figures]
    assert np.mean(totals[-3:]) < 0.8 * np.mean(totals[:3])


def test_the_averages_follow_parameters_and_statistics(experiment):
    settings = dataclasses.replace(experiment.train, ema_decay=0.5)
    averaged = dataclasses.replace(experiment, train=settings)
    state, _ = train(averaged, jax.devices()[:1], 1)
    plain, _ = train(experiment, jax.devices()[:1], 1)
    initial, _ = train(experiment, jax.devices()[:1], 0)
    # The first step's decay is min(.5, 1/10): the average is a tenth old and nine tenths new.
    expected = jax.tree.map(
        lambda old, new: 0.1 * old + 0.9 * new, initial.variables(), plain.variables()
    )
    assert expected["batch_stats"]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        state.variables(),
        expected,
    )
    assert plain.ema == {}


def test_augmentation_depends_on_the_record_and_not_on_its_place(experiment):
    source = records.open_source(experiment.data.train, experiment.data.data_dir)
    with pipeline.train_batches(
        source, batch_size=4, canvas_size=(64, 64), max_objects=4, seed=0
    ) as batches:
        batch = next(batches)
    spec = Run.from_experiment(experiment, jax.devices()[:1]).augmentation
    key = jax.random.key(1)
    augmented = jax.jit(lambda batch, key: augment_batch(batch, key, spec))
    images, targets = augmented(batch, key)
    order = np.array([2, 0, 3, 1])
    shuffled = jax.tree.map(lambda x: x[order], batch)
    images_shuffled, targets_shuffled = augmented(shuffled, key)
    np.testing.assert_array_equal(images_shuffled, np.asarray(images)[order])
    np.testing.assert_array_equal(
        targets_shuffled.boxes_xyxy, np.asarray(targets.boxes_xyxy)[order]
    )
    assert not np.array_equal(augmented(batch, jax.random.key(2))[0], images)
