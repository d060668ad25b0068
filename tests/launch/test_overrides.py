"""Overrides on a command line, --config.group.field=value, and files of flags."""

import pytest
from typed import command

from launch import cli


def test_overrides_are_taken_from_among_the_words():
    rest, found = cli.take_overrides(
        [
            *("train", "--config=configs/x.py", "--config.train.steps=3", "--debug"),
            *("-config.name", "two words", "--config.anchors.ratios=((2.0,), ())"),
            *("--config.init_from=", "--config.a.b=x=y", "picture.jpg"),
        ]
    )
    assert rest == ["train", "--config=configs/x.py", "--debug", "picture.jpg"]
    assert found == {
        "config.train.steps": "3",
        "config.name": "two words",
        "config.anchors.ratios": "((2.0,), ())",
        "config.init_from": "",
        "config.a.b": "x=y",
    }


def test_the_last_one_stands_and_what_follows_two_dashes_is_left_alone():
    words = ["--config.a=1", "--config.a=2", "--", "--config.a=3"]
    assert cli.take_overrides(words) == (["--", "--config.a=3"], {"config.a": "2"})
    # Values may have lines.
    assert cli.take_overrides(["--config.a=1\n2"]) == ([], {"config.a": "1\n2"})


def test_an_override_without_a_value_says_how():
    with pytest.raises(ValueError, match=r"--config\.a\.b: expected a value, as in --co"):
        cli.take_overrides(["train", "--config.a.b"])


def test_a_file_of_flags_holds_overrides_too(tmp_path):
    file = tmp_path / "proposal.flags"
    file.write_text("--config.anchors.s_max=0.7\n# not this\n--config.name=a b\n")
    found = cli.read_config(f"configs/quickstart.py --flagfile={file} --config.anchors.s_min=0.1")
    assert (found.anchors.s_min, found.anchors.s_max, found.name) == (0.1, 0.7, "a b")
    with pytest.raises(ValueError, match=r"--flagfile: .*none\.flags"):
        cli.read_config(f"configs/quickstart.py --flagfile={tmp_path / 'none.flags'}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--config.train.steps=3"], "--config.train.steps changes a config: give --config, too"),
        (["--config.train.steps"], "--config.train.steps: expected a value"),
        (["--flagfile=/no/such.flags"], "--flagfile: Unable to open"),
    ],
)
def test_a_mistake_in_the_flags_is_a_line(words, said, tmp_path):
    # A process of its own: flags are global, and other tests define some that are required.
    done = command("evaluate", f"--workdir={tmp_path}", *words)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: in the flags: {said}")
