"""What collectives carry, and a step in a line."""

import pytest

from ssd_jax.compiled import summary, table
from ssd_jax.compiled.collectives import Carried, Collective
from ssd_jax.compiled.hlo import ArrayType

BACKWARD = "jit(step)/shard_map/transpose(jvp(SSDModule))"
KERNEL = Carried(ArrayType("f32", (3, 3, 8, 8)), f"{BACKWARD}/head1/logits/conv", "")
SCALE = Carried(ArrayType("f32", (8,)), f"{BACKWARD}/maps/backbone/conv0/bn/reduce_sum", "")
LOSS = Carried(ArrayType("f32", ()), "jit(step)/shard_map/jvp()/reduce_sum", "")
FLAG = Carried(ArrayType("pred", ()), "jit(step)/jvp(vmap())/while", "ssd_jax/ops/matching.py:100")


def collective(*carried, source="", in_loop=False):
    return Collective("x", "all-reduce", False, carried, 8, in_loop, None, "", source)


@pytest.mark.parametrize(
    ("one", "what"),
    [
        (collective(KERNEL, SCALE, LOSS), "gradients"),
        (collective(SCALE, source="ssd_jax/train/gradient.py:157"), "gradients"),
        (collective(SCALE, SCALE, LOSS), "BatchNorm statistics"),
        (collective(LOSS, LOSS), "scalars"),
        (collective(FLAG, in_loop=True), "matching, mining"),
    ],
)
def test_what_a_collective_carries(one, what):
    assert summary.carries(one) == what


def group(carries, count, size, **more):
    return {
        "carries": carries,
        "dtype": "f32",
        "count": count,
        "bytes": size,
        "in_loop": False,
    } | more


def test_a_step_in_a_line():
    figures = {
        "memory": {"total": 2_340_000_000, "fits": True},
        "flops": 254e9,
        "step": {
            "cycles": 63_500_000,
            "computation_seconds": 0.04225,
            "collective_seconds": 0.00063,
            "images_per_second_per_chip": 746.2,
            "share_of_peak": 0.03,
        },
        "collectives": [
            group("gradients", 1, 23_200_000),
            group("BatchNorm statistics", 70, 203_000),
            group("matching, mining", 2, 8, dtype="pred", in_loop=True),
        ],
    }
    cells = dict(zip(table.ROW_HEADINGS, table.row(figures), strict=True))
    assert cells == {
        "memory, GB": "2.34",
        "fits": "yes",
        "TFLOP": "0.25",
        "M cycles": "63.5",
        "ms": "42.9",
        "images/s": "746",
        "of peak": "3%",
        "gradients": "1 x f32, 23.2 MB",
        "BatchNorm": "70 x f32, 203 kB",
        "other": "2 x pred, 8 B",
        "in loops": "2",
    }


def test_a_table():
    assert table.markdown(("a", "bb"), [("long", 1), ("x", 22)]) == (
        "| a    | bb |\n| ---- | -: |\n| long |  1 |\n| x    | 22 |\n"
    )


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (23_200_000, "23.2 MB"), (3.84e9, "3.84 GB"), (None, "-")],
)
def test_sizes(number, text):
    assert table.size(number) == text
