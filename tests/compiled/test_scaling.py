"""The scaling model, against the arithmetic that it states and the figures that are published."""

import dataclasses

import pytest

from ssd_jax.compiled import scaling
from ssd_jax.compiled.chips import CHIPS
from ssd_jax.compiled.collectives import Carried, Collective
from ssd_jax.compiled.hlo import ArrayType
from ssd_jax.compiled.scaling import Group

V5E, V5P, H100 = CHIPS["v5e"], CHIPS["v5p"], CHIPS["h100"]


def all_reduce(elements, *, group_size, is_async=False):
    carried = (Carried(ArrayType("f32", (elements,)), "", ""),)
    return Collective("x", "all-reduce", is_async, carried, group_size, False, 1, "", "")


def test_the_shape_of_a_group():
    assert Group.of(V5E, 256).sides == (16, 16)
    assert Group.of(V5E, 8).sides == (2, 4)
    assert (Group.of(V5E, 1024).sides, Group.of(V5E, 1024).islands) == ((16, 16), 4)
    assert Group.of(V5P, 64).sides == (4, 4, 4)
    assert (Group.of(H100, 128).sides, Group.of(H100, 128).islands) == ((8,), 16)
    assert (Group.of(H100, 4).sides, Group.of(H100, 4).islands) == ((4,), 1)


def test_one_chip_waits_for_nobody():
    assert Group.of(V5E, 1).all_reduce_seconds(10**9) == 0


def test_a_pod_reduces_as_fast_as_published():
    # 51.2 TB/s over 256 chips: V bytes take 2 V / 200 GB/s but for the last of 256 parts.
    seconds = Group.of(V5E, 256).all_reduce_seconds(10**9)
    hops = 2 * (8 + 8) * V5E.latency
    assert seconds - hops == pytest.approx(2 * 255 / 256 * 1e9 / 200e9)


def test_two_by_two_chips_have_one_link_each_way():
    # Two axes of 50 GB/s, 3/4 of the value there and back, one hop on each axis and back.
    seconds = Group.of(V5E, 4).all_reduce_seconds(10**8)
    assert seconds == pytest.approx(2 * 3 / 4 * 1e8 / 100e9 + 4 * 1e-6)


def test_hosts_of_gpus_exchange_an_eighth():
    seconds = Group.of(H100, 16).all_reduce_seconds(8 * 10**8)
    inside = 2 * 7 / 8 * 8e8 / 450e9 + 2 * 7 * H100.latency
    between = 2 * 1 / 2 * 1e8 / 50e9 + 2 * H100.network_latency
    assert seconds == pytest.approx(H100.base_latency + inside + between)


def test_a_group_of_batch_norm_keeps_its_size():
    gradients, statistics = all_reduce(10**7, group_size=4), all_reduce(100, group_size=2)
    few = scaling.waiting([gradients, statistics], V5E, 4, 4)
    assert few == pytest.approx(
        Group.of(V5E, 4).all_reduce_seconds(4 * 10**7) + Group.of(V5E, 2).all_reduce_seconds(400)
    )
    many = scaling.waiting([gradients, statistics], V5E, 4, 256)
    assert many == pytest.approx(
        Group.of(V5E, 256).all_reduce_seconds(4 * 10**7) + Group.of(V5E, 2).all_reduce_seconds(400)
    )


def test_an_asynchronous_collective_is_not_taken_to_be_hidden():
    hidden, plain = (all_reduce(100, group_size=4, is_async=flag) for flag in (True, False))
    assert scaling.waiting([hidden], V5E, 4, 4) == scaling.waiting([plain], V5E, 4, 4) > 0


def test_efficiency_and_where_it_breaks():
    # 100 small sums: on one chip none, on more 100 times the hops.
    found = [all_reduce(1, group_size=4)] * 100
    row = scaling.scaled(0.01, found, V5E, 4, 256)
    assert row.waiting == pytest.approx(100 * 32e-6, rel=0.01)
    assert row.efficiency == pytest.approx(0.01 / 0.0132, rel=0.01)
    assert scaling.scaled(0.01, found, V5E, 4, 1).efficiency == 1
    # With 2.88 times the images, 28.8 ms beside 3.2 ms.
    assert row.least_share == pytest.approx(2.88, rel=0.01)
    # 10 % of a step of 10 ms are 1.1 ms, 11 hops for each: 16 chips make 12, 8 chips 8.
    assert scaling.breaks_at(0.01, found, V5E, 4) == 16
    assert scaling.breaks_at(100.0, found, V5E, 4) is None


def test_a_gather_is_half_of_an_all_reduce():
    whole = all_reduce(1000, group_size=4)
    half = dataclasses.replace(whole, operation="reduce-scatter")
    assert scaling.seconds_of(half, V5E, 4) == pytest.approx(scaling.seconds_of(whole, V5E, 4) / 2)
