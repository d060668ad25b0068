"""What is read of a program's text besides its collectives."""

from ssd_jax.compiled import hlo

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
    [loop] = program.loops
    assert loop.trip_count == 30
    assert loop.cycles == 103
    assert program.times["body"] == hlo.Times(count=30, in_loop=True, is_known=True)
    assert program.times["main"] == hlo.Times(count=1, in_loop=False, is_known=True)


def test_a_loop_whose_bound_comes_from_data_is_unknown():
    text = COUNTED.replace(
        "%end = s32[]{:T(128)} constant(32)", "%end = s32[] get-tuple-element(%r)"
    )
    program = hlo.Program.parse(text)
    [loop] = program.loops
    assert loop.trip_count is None
    assert not program.times["body"].is_known


def test_the_devices_of_a_program():
    assert hlo.Program.parse(COUNTED).num_devices == 4
    assert hlo.Program.parse("HloModule x\n").num_devices == 1


def test_the_stack_names_files_within_the_package():
    text = (
        'FileNames\n1 "/home/somebody/env/site-packages/optax/tree.py"\n'
        f'2 "{hlo.__file__}"\n\nFunctionNames\n1 "f"\n\nFileLocations\n'
        "1 {file_name_id=1 function_name_id=1 line=7 end_line=7 column=1 end_column=2}\n"
        "2 {file_name_id=2 function_name_id=1 line=9 end_line=9 column=1 end_column=2}\n\n"
        "StackFrames\n1 {file_location_id=2 parent_frame_id=1}\n"
        "2 {file_location_id=1 parent_frame_id=1}\n\n"
        "ENTRY %main (p: f32[8]) -> f32[8] {\n"
        '  ROOT %p = f32[8] negate(%q), metadata={op_name="x" stack_frame_id=2}\n}\n'
    )
    program = hlo.Program.parse(text)
    [(_, one)] = program.walk()
    assert program.stack(one) == ("optax/tree.py:7", "ssd_jax/compiled/hlo.py:9")


def test_the_sizes_of_types():
    sizes = {
        str(one): one.bytes for one in hlo.array_types("(bf16[3,5]{1,0}, pred[7], s4[3], c64[2])")
    }
    assert sizes == {"bf16[3,5]": 30, "pred[7]": 7, "s4[3]": 2, "c64[2]": 16}
    assert hlo.array_types("f8e4m3fn[4]")[0].bytes == 4
    assert hlo.array_types("token[]")[0].bytes == 0
