"""Where instructions come from."""

from ssd_jax.compiled import hlo
from ssd_jax.compiled.origins import Origins


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
    assert Origins(program).stack(one) == ("optax/tree.py:7", "ssd_jax/compiled/hlo.py:9")
