import dataclasses
import sys

import pytest
from absl import flags
from absl.testing import flagsaver

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


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (ValueError("no such thing"), 1, "error: no such thing\n"),
    ],
)
def test_what_ends_a_command_is_a_line_and_a_status(error, status, said, monkeypatch, capsys):
    def main():
        raise error

    flags.FLAGS.mark_as_parsed()
    # Without what absl and logging do to the process.
    monkeypatch.setattr(cli.app, "run", lambda main, flags_parser: sys.exit(main([])))
    monkeypatch.setattr(cli.logging, "basicConfig", lambda **options: None)
    with flagsaver.flagsaver(compilation_cache=""), pytest.raises(SystemExit) as ended:
        cli.run(main)
    assert ended.value.code == status
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("name", ["[red]x[/red]", "[/]", ":train:", "[link=x]y"])
def test_a_class_is_printed_as_it_is_called(name, capsys, monkeypatch):
    from ssd_jax.evaluate import metrics
    from ssd_jax.study import coverage_tables

    monkeypatch.setenv("COLUMNS", "200")
    scores = dict.fromkeys(("AP_11point", "AP_area", "AP", "AP50", "AP75"), 0.5)
    counts = {"num_objects": 1, "num_detections": 1}
    sizes = dict.fromkeys(("APs", "APm", "APl", "AR1", "AR10", "AR100"), 0.5)
    found = {"mAP": 0.5, "mAP_area": 0.5, **scores, **counts, **sizes}
    cli.print_table(metrics.metrics_table({**found, "per_class": {name: {**scores, **counts}}}))
    assert name in capsys.readouterr().out
    cli.print_table(coverage_tables.TextTable(name, (name, "n"), [(name, "1")]).terminal())
    assert capsys.readouterr().out.count(name) == 3
