"""The parts that estimated cycles are added up by."""

import pytest

from ssd_jax.compiled import hlo, parts

CASES = [
    ("jit(step)/jvp(SSDModule)/maps/backbone/conv12_depthwise/bn/mul", (), "backbone conv12"),
    (
        "jit(step)/transpose(jvp(SSDModule))/maps/backbone/res4b22/branch2a/conv",
        (),
        "backbone res4",
    ),
    ("jit(step)/jvp(SSDModule)/maps/backbone/reduce_max", (), "backbone"),
    ("jit(step)/jvp(SSDModule)/maps/extra2/squeeze/conv/dot_general", (), "extras, neck"),
    ("jit(step)/jvp(RefineDetModule)/tcb1/conv1/conv", (), "extras, neck"),
    ("jit(step)/jvp(SSDModule)/head3/logits/dot_general", (), "heads"),
    ("jit(step)/jvp(RefineDetModule)/arm1_logits/reduce_sum", (), "heads"),
    (
        "jit(step)/vmap()/sub",
        ("ssd_jax/ops/boxes.py:71", "ssd_jax/ops/matching.py:62", "ssd_jax/train/step.py:9"),
        "matching, mining",
    ),
    ("jit(step)/vmap()/sub", ("ssd_jax/ops/photometric.py:53",), "augmentation, input"),
    ("jit(detect)/vmap()/max", ("ssd_jax/ops/nms.py:10", "x.py:1"), "decoding, NMS"),
    ("jit(step)/add", ("optax/_src/update.py:42", "ssd_jax/train/step.py:9"), "gradient, update"),
    ("state.params['head2']['logits']['kernel']", (), "gradient, update"),
    ("convert.70", (), "other"),
]


@pytest.mark.parametrize(("op_name", "stack", "name"), CASES)
def test_the_part_of_an_operation(op_name, stack, name):
    assert parts.name_of(op_name, stack) == name


def line(name, cycles, op_name, opcode="fusion", more=", calls=%fused"):
    return (
        f'  %{name} = f32[8]{{0}} {opcode}(%p){more}, metadata={{op_name="{op_name}"}}, '
        f'backend_config={{"window_config":{{"estimated_cycles":"{cycles}"}}}}\n'
    )


def test_cycles_by_part():
    conv = "(SSDModule)/maps/backbone/conv"
    fused = f"%fused (p: f32[8]) -> f32[8] {{\n{line('inner', 999, 'x', 'negate', '')}}}\n\n"
    body = (
        f"%body (p: f32[8]) -> f32[8] {{\n{line('b', 5, 'jit(step)/jvp(SSDModule)/head1/x')}}}\n\n"
    )
    main = (
        "ENTRY %main (p: f32[8]) -> f32[8] {\n  %p = f32[8]{0} parameter(0)\n"
        + line("a2", 10, f"jit(step)/jvp{conv}10/conv")
        + line("a1", 20, f"jit(step)/jvp{conv}2_1/conv")
        + line("g", 40, f"jit(step)/transpose(jvp{conv}2_1/conv)")
        + "  %s = f32[8]{0} sort(%p), dimensions={0}\n"
        + "  %z = f32[] negate(%p)\n"
        + '  %w = f32[8]{0} while(%p), body=%body, backend_config={"known_trip_count":{"n":"3"}}\n'
        + "}\n"
    )
    found = parts.by_part(hlo.Program.parse(f"HloModule x\n\n{fused}{body}{main}"))
    assert found.parts == (
        parts.Part("backbone conv2", 20, 40),
        parts.Part("backbone conv10", 10, 0),
        parts.Part("heads", 15, 0),
    )
    assert found.total == 85
    assert found.without_estimate == {"sort": 1}
