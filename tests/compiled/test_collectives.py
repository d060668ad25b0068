"""Collectives read from HLO text written by hand, and from a program compiled for 8 devices."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from ssd_jax import sharding
from ssd_jax.compiled import collectives

HEADER = "HloModule jit_step, is_scheduled=true, num_partitions=8\n"

TABLES = """
FileNames
1 "ssd_jax/ops/matching.py"

FunctionNames
1 "match"

FileLocations
1 {file_name_id=1 function_name_id=1 line=100 end_line=100 column=8 end_column=9}

StackFrames
1 {file_location_id=1 parent_frame_id=1}

"""


def entry(*lines):
    body = "\n".join(f"  {line}" for line in lines)
    head = "ENTRY %main (p: f32[4,5]) -> f32[4,5] {\n  %p = f32[4,5]{1,0} parameter(0)\n"
    return f"{head}{body}\n}}\n"


def find_one(*lines, before=""):
    [found] = collectives.find(HEADER + before + entry(*lines))
    return found


def test_a_plain_sum():
    found = find_one(
        "ROOT %psum = f32[4,5]{1,0} all-reduce(%p), channel_id=1, replica_groups={{0,1,2,3},"
        '{4,5,6,7}}, to_apply=%add, metadata={op_name="jit(step)/psum" source_file="a/b.py" '
        "source_line=12}"
    )
    assert found.operation == "all-reduce"
    assert not found.is_async
    assert (found.dtype, found.shape) == ("f32", "f32[4,5]")
    assert found.bytes == 4 * 5 * 4
    assert found.group_size == 4
    assert not found.in_loop
    assert found.times == 1
    assert found.origin == "jit(step)/psum (a/b.py:12)"


@pytest.mark.parametrize(
    ("groups", "size"),
    [
        ("{}", 8),
        ("{{0,1},{2,3},{4,5},{6,7}}", 2),
        ("[2,4]<=[8]", 4),
        ("[4,2]<=[2,4]T(1,0)", 2),
        ("mesh['a'=8,'b'=1] {'a'}", 8),
        ("mesh['a'=4,'b'=2] {'a','b'}", 8),
        ("mesh['a'=8] {'a':(2)4}", 4),
    ],
)
def test_the_forms_of_groups(groups, size):
    assert find_one(f"%x = f32[] all-reduce(%p), replica_groups={groups}").group_size == size


def test_a_collective_of_one_device_moves_nothing():
    text = HEADER + entry("%x = f32[4,5] all-reduce(%p), replica_groups={{0},{1}}")
    assert collectives.find(text) == []


def test_a_start_and_its_done_are_one():
    found = find_one(
        "%s = f32[4,5] all-reduce-start(%p), replica_groups={}, to_apply=%add",
        "ROOT %d = f32[4,5] all-reduce-done(%s)",
    )
    assert found.operation == "all-reduce"
    assert found.is_async
    assert found.bytes == 80


def test_a_start_that_waits_is_not_asynchronous():
    found = find_one(
        "%s = f32[4,5] all-reduce-start(%p), replica_groups={}, to_apply=%add, "
        'backend_config={"collective_backend_config":{"is_sync":true}}',
        "ROOT %d = f32[4,5] all-reduce-done(%s)",
    )
    assert not found.is_async


def test_a_gather_counts_all_that_it_returns_once():
    found = find_one(
        "%s = (f32[4,5], f32[32,5]) all-gather-start(%p), replica_groups={}, dimensions={0}",
        "ROOT %d = f32[32,5] all-gather-done(%s)",
    )
    assert (found.operation, found.bytes) == ("all-gather", 32 * 5 * 4)
    assert find_one("%g = f32[32,5] all-gather(%p), replica_groups={}").bytes == 32 * 5 * 4


def test_a_permutation_does_not_count_its_context():
    found = find_one(
        "%s = (f32[4,5], f32[4,5], u32[], u32[]) collective-permute-start(%p), "
        "source_target_pairs={{0,1},{1,2},{2,0}}",
        "ROOT %d = f32[4,5] collective-permute-done(%s)",
    )
    assert (found.operation, found.bytes, found.group_size) == ("collective-permute", 80, 3)


def test_a_wrapped_collective_is_counted_where_it_is_written():
    wrapped = (
        "%wrapped (q: f32[16,5]) -> f32[2,5] {\n"
        "  %q = f32[16,5]{1,0} parameter(0)\n"
        "  ROOT %r = f32[2,5]{1,0} reduce-scatter(%q), replica_groups=[1,8]<=[8], "
        "dimensions={0}, to_apply=%add\n}\n"
    )
    found = find_one(
        "%big = f32[16,5] broadcast(%p), dimensions={0,1}",
        "%s = ((f32[16,5]), f32[2,5], u32[]) async-start(%big), calls=%wrapped",
        "ROOT %d = f32[2,5] async-done(%s), calls=%wrapped",
        before=wrapped,
    )
    assert (found.operation, found.bytes) == ("reduce-scatter", 16 * 5 * 4)
    assert found.is_async
    assert found.group_size == 8


def test_a_tuple_is_the_sum_of_its_arrays():
    found = find_one(
        "%a = bf16[3,7]{1,0:T(8,128)(2,1)S(1)} convert(%p)",
        "%b = pred[] constant(true)",
        "%t = (f32[4,5]{1,0}, /*index=1*/bf16[3,7]{1,0}, pred[]) "
        "all-reduce(%p, %a, /*index=2*/%b), replica_groups={}, to_apply=%add",
    )
    assert found.dtype == "f32+bf16+pred"
    assert found.shape == "f32[4,5], bf16[3,7], pred[]"
    assert found.bytes == 4 * 5 * 4 + 3 * 7 * 2 + 1


def test_names_without_percent_signs_and_operands_with_types():
    text = HEADER + (
        "ENTRY main (p: u8[6]) -> u8[6] {\n  p = u8[6]{0} parameter(0)\n"
        "  ROOT sum = u8[6]{0} all-reduce(u8[6]{0} p), replica_groups={}, to_apply=add\n}\n"
    )
    [found] = collectives.find(text)
    assert found.bytes == 6


LOOP = """%inner (q: pred[]) -> pred[] {
  %q = pred[] parameter(0)
  ROOT %any = pred[] all-reduce(%q), to_apply=%or, metadata={op_name="a/any" stack_frame_id=1}
}

%body (q.1: (s32[], pred[])) -> (s32[], pred[]) {
  %q.1 = (s32[], pred[]) parameter(0)
  %v = pred[] get-tuple-element(%q.1), index=1
  %i = s32[] get-tuple-element(%q.1), index=0
  %c = pred[] call(%v), to_apply=%inner
  ROOT %t = (s32[], pred[]) tuple(%i, %c)
}

%condition (q.2: (s32[], pred[])) -> pred[] {
  %q.2 = (s32[], pred[]) parameter(0)
  ROOT %w = pred[] get-tuple-element(%q.2), index=1
}

"""
WHILE = "%w = (s32[], pred[]) while(%t0), condition=%condition, body=%body"


def test_a_collective_in_a_computation_that_a_loop_calls():
    found = find_one(WHILE, before=TABLES + LOOP)
    assert found.in_loop
    assert found.times is None
    assert (found.dtype, found.shape, found.bytes) == ("pred", "pred[]", 1)
    assert found.origin == "a/any (ssd_jax/ops/matching.py:100)"


def test_a_known_number_of_rounds_is_counted():
    trips = ', backend_config={"known_trip_count":{"n":"5"}}'
    found = find_one(WHILE + trips, before=TABLES + LOOP)
    assert found.in_loop
    assert found.times == 5


def test_what_a_compiler_made_is_named_by_what_it_was_made_of():
    found = find_one(
        '%x = f32[4] reduce(%p), metadata={op_name="jit(step)/bn/reduce_sum"}',
        "%both = f32[8] fusion(%x, %x), kind=kLoop, calls=%concatenation",
        "%s = f32[8] all-reduce(%both), replica_groups={}, to_apply=%add",
    )
    assert found.op_name == "jit(step)/bn/reduce_sum"
    assert [str(one.type) for one in found.carried] == ["f32[4]", "f32[4]"]
    assert {one.op_name for one in found.carried} == {"jit(step)/bn/reduce_sum"}
    assert found.bytes == 32


@pytest.fixture(scope="module")
def compiled_text():
    mesh = sharding.data_mesh(jax.devices())
    split, whole = PartitionSpec("data"), PartitionSpec()

    def both(x):
        total = jax.lax.psum(x.sum(0), "data")

        def goes_on(carry):
            return jax.lax.psum(carry.sum(), "data") < 100

        return total, jax.lax.while_loop(goes_on, lambda carry: carry + 1, x)

    def apply(x):
        return jax.shard_map(
            both, mesh=mesh, in_specs=split, out_specs=(whole, split), check_vma=False
        )(x)

    argument = jax.ShapeDtypeStruct((16, 100), jnp.float32, sharding=sharding.batch_split(mesh))
    return jax.jit(apply).lower(argument).compile().as_text()


def test_a_real_program(compiled_text):
    outside, inside = sorted(collectives.find(compiled_text), key=lambda one: one.in_loop)
    assert (outside.operation, outside.bytes, outside.in_loop) == ("all-reduce", 400, False)
    assert (inside.operation, inside.bytes, inside.in_loop) == ("all-reduce", 4, True)
    assert inside.times is None
    assert inside.op_name.endswith("while/cond/psum")
    assert "test_collectives.py:" in inside.source
    assert {outside.group_size, inside.group_size} == {8}
