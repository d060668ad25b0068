"""The text of a program: its devices and the types of its arrays."""

from ssd_jax.compiled import hlo


def test_the_devices_of_a_program():
    assert hlo.Program.parse("HloModule x, num_partitions=4\n").num_devices == 4
    assert hlo.Program.parse("HloModule x\n").num_devices == 1


def test_the_sizes_of_types():
    sizes = {
        str(one): one.bytes for one in hlo.array_types("(bf16[3,5]{1,0}, pred[7], s4[3], c64[2])")
    }
    assert sizes == {"bf16[3,5]": 30, "pred[7]": 7, "s4[3]": 2, "c64[2]": 16}
    assert hlo.array_types("f8e4m3fn[4]")[0].bytes == 4
    assert hlo.array_types("token[]")[0].bytes == 0
