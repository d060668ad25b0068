"""What crosses the wire in a step of training: read from the program compiled for 8 devices."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from ssd_jax import config
from ssd_jax.compiled import collectives
from ssd_jax.train.run import Run
from ssd_jax.types import Batch


def lower(experiment):
    experiment = dataclasses.replace(
        experiment, model=dataclasses.replace(experiment.model, num_classes=4)
    )
    run = Run.from_experiment(experiment, jax.devices()[:8])
    state = jax.eval_shape(run.init)
    data, shape = experiment.data, jax.ShapeDtypeStruct
    B, G = experiment.train.batch_size, data.max_objects
    batch = Batch(
        index=shape((B,), np.int32),
        canvas=shape((B, *data.canvas, 3), np.uint8),
        size=shape((B, 2), np.int32),
        boxes_xyxy=shape((B, G, 4), np.float32),
        labels=shape((B, G), np.int32),
        valid=shape((B, G), bool),
    )
    return state, run.step.lower(state, batch, jax.eval_shape(lambda: run.key))


def found_in(experiment):
    state, lowered = lower(experiment)
    return state, collectives.find(lowered.compile().as_text())


def num_bytes(tree):
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def refinedet(values):
    neck = {"name": "transfer_connections", "channels": 8}
    values["model"] |= {"name": "refinedet", "neck": neck}


@pytest.mark.parametrize("system", [None, refinedet])
@pytest.mark.parametrize("group", [0, 1, 2])
def test_only_gradients_statistics_and_scalars_cross_the_wire(tiny, system, group):
    values = tiny.to_dict()
    values["model"]["batch_norm_group"] = group
    if system:
        system(values)
    state, found = found_in(config.resolve(values))
    assert {one.operation for one in found} == {"all-reduce"}
    assert not any(one.in_loop for one in found)
    assert {one.dtype for one in found} == {"f32"}

    params, statistics = num_bytes(state.params), num_bytes(state.batch_stats)
    # Two sums of every channel, and two more on the way back; in groups a third pair, the average.
    of_batch_norm = {0: 2, 1: 1, 2: 3}[group] * statistics
    scalars = sum(one.bytes for one in found) - params - of_batch_norm
    assert 0 <= scalars <= 4 * 8
    assert params + scalars <= 1.05 * params
    if group == 1:  # no layer waits for another device
        assert len(found) <= 4
    assert {one.group_size for one in found} == ({8, 2} if group == 2 else {8})


def test_gradients_cross_the_wire_in_the_type_that_the_config_names(tiny):
    values = tiny.to_dict()
    # The network's own type does not decide it.
    config.override(
        values, {"config.model.dtype": "bfloat16", "config.model.batch_norm_group": "1"}
    )
    _, found = found_in(config.resolve(values))
    assert {one.dtype for one in found} == {"f32"}

    # As the compiler receives it: a CPU widens what it sums.
    values["train"]["gradient_dtype"] = "bfloat16"
    state, lowered = lower(config.resolve(values))
    text = lowered.as_text()
    reduced = re.findall(r"stablehlo.all_reduce.*?\) : \(tensor<[\dx]*(\w+)>", text, re.DOTALL)
    assert reduced.count("bf16") == len(jax.tree.leaves(state.params))


def test_nothing_of_frozen_parameters_crosses_the_wire(tiny):
    values = tiny.to_dict()
    config.override(
        values,
        {"config.optimizer.frozen": "('backbone/*',)", "config.model.batch_norm_group": "1"},
    )
    state, found = found_in(config.resolve(values))
    trained = num_bytes({k: v for k, v in state.params.items() if k != "backbone"})
    rest = sum(one.bytes for one in found)
    assert trained < 0.6 * num_bytes(state.params)
    assert trained <= rest <= trained + num_bytes(state.batch_stats) + 4 * 8


def test_the_reader_finds_what_must_not_be_there():
    """A loop that asks all devices whether it goes on, as the compiler makes it on its own."""
    devices = np.array(jax.devices()[:8])
    mesh = jax.sharding.Mesh(devices, ("data",))
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))

    def halve(x):
        return jax.lax.while_loop(lambda x: x > 1, lambda x: x / 2, x)

    step = jax.jit(jax.vmap(halve), in_shardings=split, out_shardings=split)
    text = step.lower(jax.ShapeDtypeStruct((16,), np.float32)).compile().as_text()
    assert any(one.in_loop for one in collectives.find(text))
