import dataclasses

import pytest

from configs import ssd
from launch import cli
from ssd_jax import config

# With which ml_collections reads a config file.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


def test_a_config_with_its_overrides():
    found = cli.read_config(
        "configs/ssd.py:300,coco --config.anchors.clip=corners --config.name='a b'"
    )
    plain = config.resolve(ssd.get_config("300,coco"))
    clipped = dataclasses.replace(plain.anchors, clip="corners")
    assert found == dataclasses.replace(plain, anchors=clipped, name="a b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("configs/ssd.py:300,birds", r"in 'configs/ssd.py:300,birds': .*got '300,birds'"),
        ("configs/none.py", "configs/none.py"),
        ("configs/ssd.py --config.anchors.clib", 'mean "clip"'),
        ("configs/ssd.py --config.loss.alpha=much", "much"),
        ("configs/ssd.py more", r"expected FILE\[:VARIANT\]"),
        ("", r"expected FILE\[:VARIANT\]"),
        ("configs/ssd.py 'open", "in .*: No closing quotation"),
    ],
)
def test_a_wrong_one_is_named(text, message):
    with pytest.raises(ValueError, match=message) as error:
        cli.read_config(text)
    assert "\n" not in str(error.value)


def test_a_table_in_a_file_is_as_wide_as_it_is(capsys):
    import rich.table

    table = rich.table.Table()
    table.add_column("x" * 150, no_wrap=True)
    cli.print_table(table)
    assert "x" * 150 in capsys.readouterr().out
