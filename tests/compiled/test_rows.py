"""The programs of the table."""

from ssd_jax.compiled.rows import rows


def test_the_rows():
    names = [row.name for row in rows()]
    assert len(set(names)) == len(names) == 26
    assert "ssd300-v5e-16x16" in names
    assert {row.topology.chip.name for row in rows()} == {"h100", "a100", "v5e", "v6e", "v5p"}
