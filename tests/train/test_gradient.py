import copy
import dataclasses

import jax
import numpy as np
import pytest

from ssd_jax import config, sharding
from ssd_jax.train.run import Run


def gradients(experiment, devices):
    """Returns the parameters' change after a step of plain gradient descent, and the figures."""
    run = Run.from_experiment(experiment, jax.devices()[:devices])
    state = run.init()
    before = jax.device_get(state.params)
    with run.batches() as batches:
        batch = next(batches)
    state, metrics = run.step(state, sharding.put_batch(run.mesh, batch), run.key)
    state = jax.device_get(state)
    change = jax.tree.map(lambda a, b: a - b, before, state.params)
    return change, jax.device_get(metrics), state


def resolved(values, **overrides):
    values = copy.deepcopy(values if isinstance(values, dict) else values.to_dict())
    plain = {"config.optimizer.momentum": "0", "config.optimizer.learning_rate": "1.0"}
    names = {f"config.{name.replace('__', '.')}": str(x) for name, x in overrides.items()}
    config.override(values, plain | names)
    return config.resolve(values)


def assert_close(actual, expected, tolerance):
    scale = max(float(np.abs(x).max()) for x in jax.tree.leaves(expected))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale),
        actual,
        expected,
    )


@pytest.fixture
def refined(tiny):
    values = tiny.to_dict()
    neck = {"name": "transfer_connections", "channels": 8}
    values["model"] |= {"name": "refinedet", "neck": neck}
    return values


@pytest.mark.parametrize("system", ["tiny", "refined"])
@pytest.mark.parametrize("devices", [1, 2])
def test_parts_of_a_batch_add_up_to_the_batch(request, system, devices):
    # Without BatchNorm of the batch, for the statistics of a part are not those of the whole.
    values = request.getfixturevalue(system)
    frozen = {"model__freeze_batch_norm": "everywhere"}
    expected, whole, _ = gradients(resolved(values, **frozen), devices)
    actual, parts, _ = gradients(resolved(values, **frozen, train__accumulation=4), devices)
    for a, b in zip(jax.tree.leaves(parts.loss), jax.tree.leaves(whole.loss), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert_close(actual, expected, 1e-5)


def test_the_loss_of_parts_is_not_the_mean_of_their_losses(tiny):
    """Parts hold different numbers of positives; the test above would not see it otherwise."""
    run = Run.from_experiment(resolved(tiny), jax.devices()[:1])
    with run.batches() as batches:
        counts = next(batches).valid.sum(axis=1).reshape(4, 2).sum(axis=1)
    assert len(set(counts.tolist())) > 1


def test_parts_pass_their_statistics_on(tiny):
    _, _, whole = gradients(resolved(tiny), 1)
    _, _, parts = gradients(resolved(tiny, train__accumulation=2), 1)
    first = jax.tree.leaves(whole.batch_stats)[0], jax.tree.leaves(parts.batch_stats)[0]
    # Two updates of half a batch each, in place of one: 1 - .9^2 of the way in place of .1.
    assert np.abs(first[1]).sum() > 1.5 * np.abs(first[0]).sum()


@pytest.mark.parametrize("group", [1, 2, 4])
def test_a_group_of_devices_has_the_statistics_of_its_images(tiny, group):
    """Eight devices in groups compute what eight / group runs of the group's images do."""
    experiment = resolved(tiny, model__batch_norm_group=group)
    run = Run.from_experiment(experiment, jax.devices()[:8])
    state = run.init()
    initial = jax.device_get(state.variables())
    with run.batches() as batches:
        batch = next(batches)
    state, _ = run.step(state, sharding.put_batch(run.mesh, batch), run.key)

    alone = Run.from_experiment(
        dataclasses.replace(
            resolved(tiny), train=dataclasses.replace(experiment.train, batch_size=group)
        ),
        jax.devices()[:1],
    )
    stats = []
    for start in range(0, 8, group):
        part = jax.tree.map(lambda x, start=start: x[start : start + group], batch)
        fresh = alone.begin_with(alone.init(), initial)
        after, _ = alone.step(fresh, sharding.put_batch(alone.mesh, part), alone.key)
        stats.append(jax.device_get(after.batch_stats))
    expected = jax.tree.map(lambda *each: np.mean(each, axis=0), *stats)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5),
        jax.device_get(state.batch_stats),
        expected,
    )


def test_all_devices_hold_the_same_state(tiny):
    """The step says so to the compiler, which does not check it."""
    experiment = resolved(tiny, model__batch_norm_group=1)
    run = Run.from_experiment(experiment, jax.devices()[:8])
    with run.batches() as batches:
        state, _ = run.step(run.init(), sharding.put_batch(run.mesh, next(batches)), run.key)
    for leaf in jax.tree.leaves((state.params, state.batch_stats, state.opt_state)):
        first, *others = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        for other in others:
            np.testing.assert_array_equal(first, other)


def test_a_rounded_gradient_on_the_wire_stays_near_the_exact_one(tiny):
    exact, _, _ = gradients(resolved(tiny), 8)
    rounded, _, _ = gradients(resolved(tiny, train__gradient_dtype="bfloat16"), 8)
    assert_close(rounded, exact, 2e-2)
    assert any(
        np.any(a != b)
        for a, b in zip(jax.tree.leaves(rounded), jax.tree.leaves(exact), strict=True)
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"train__accumulation": 3}, "8 images do not divide over 1 devices in 3 parts each"),
        ({"train__accumulation": 0}, "accumulation: expected 1 or more, got 0"),
        ({"train__gradient_dtype": "float16"}, "gradient_dtype: expected one of"),
        ({"model__batch_norm_group": -1}, "batch_norm_group: expected 0 or more devices, got -1"),
        ({"model__batch_norm_group": 3}, "1 devices do not divide into groups of 3"),
    ],
)
def test_what_does_not_divide_is_refused(tiny, overrides, message):
    with pytest.raises(ValueError, match=message):
        Run.from_experiment(resolved(tiny, **overrides), jax.devices()[:1])
