"""How often the computations of a program run."""

from ssd_jax.compiled import hlo, loops

# A loop of a TPU's program: its trip count stands in the condition alone.
COUNTED = """HloModule jit_step, is_scheduled=true, num_partitions=4

%body (q: (s32[], f32[8])) -> (s32[], f32[8]) {
  %q = (s32[]{:T(128)}, f32[8]{0}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%q), index=0
  %x = f32[8]{0} get-tuple-element(%q), index=1
  %one = s32[]{:T(128)} constant(1)
  %next = s32[]{:T(128)} add(%i, %one), backend_config={"window_config":{"estimated_cycles":"3"}}
  %y = f32[8]{0} fusion(%x), calls=%f, backend_config={"window_config":{"estimated_cycles":"100"}}
  ROOT %t = (s32[]{:T(128)}, f32[8]{0}) tuple(%next, %y)
}

%condition (r: (s32[], f32[8])) -> pred[] {
  %end = s32[]{:T(128)} constant(32)
  %r = (s32[]{:T(128)}, f32[8]{0}) parameter(0)
  %j = s32[]{:T(128)} get-tuple-element(%r), index=0
  ROOT %lt = pred[]{:T(512)} compare(%j, %end), direction=LT
}

ENTRY %main (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  %zero = s32[]{:T(128)} constant(2)
  %start = s32[]{:T(128)} copy(%zero)
  %t0 = (s32[]{:T(128)}, f32[8]{0}) tuple(%start, %p)
  %w = (s32[]{:T(128)}, f32[8]{0}) while(%t0), condition=%condition, body=%body
  ROOT %out = f32[8]{0} get-tuple-element(%w), index=1
}
"""


def test_a_loop_that_counts_from_a_constant_to_another():
    program = hlo.Program.parse(COUNTED)
    [loop] = loops.find(program)
    times = loops.times(program)
    assert loop.trip_count == 30
    assert loop.cycles == 103
    assert times["body"] == loops.Times(count=30, in_loop=True, is_known=True)
    assert times["main"] == loops.Times(count=1, in_loop=False, is_known=True)


def test_a_loop_whose_bound_comes_from_data_is_unknown():
    text = COUNTED.replace(
        "%end = s32[]{:T(128)} constant(32)", "%end = s32[] get-tuple-element(%r)"
    )
    program = hlo.Program.parse(text)
    [loop] = loops.find(program)
    assert loop.trip_count is None
    assert not loops.times(program)["body"].is_known
