import pytest

from configs import ssd
from launch import cli
from ssd_jax import config
from ssd_jax.sweeps import plan as trials
from ssd_jax.sweeps.plan import SweepFile

BASE = ssd.get_config("small,voc").to_dict()


def sweep(*overrides, common=None):
    return SweepFile("y.py", "", common or {}, overrides)


def plan(*overrides, common=None, from_command=None):
    return trials.plan(BASE, sweep(*overrides, common=common), from_command or {})


def names(*overrides):
    return [trial.name for trial in plan(*overrides).trials]


def test_the_command_line_stands_above_the_trial_and_that_above_what_is_common():
    made = plan(
        {"config.loss.alpha": 2, "config.train.steps": 20},
        common={"config.train.steps": 10, "config.train.batch_size": 4},
        from_command={"config.loss.alpha": 3.0},
    )
    [trial] = made.trials
    experiment = trial.experiment
    assert (experiment.train.steps, experiment.train.batch_size, experiment.loss.alpha) == (
        20,
        4,
        3,
    )
    assert experiment.model.width == 0.25


def test_the_base_is_left_as_it_was():
    plan({"config.model.extras.l2_norm": (5.0, 0.0)})
    assert BASE["model"]["extras"]["l2_norm"] == ()


def test_names_are_the_overrides_in_short_and_the_seed():
    assert names({"config.anchors.s_min": 0.1, "config.train.seed": 3}) == ["s_min=0.1,seed=3"]
    # Two fields that end alike are told apart; a name of the file's own wins; and nothing is base.
    assert names(
        {"config.loss.iou_threshold": 0.4, "config.decoder.iou_threshold": 0.3},
        {"config.name": "no atrous", "config.model.backbone.fc6_dilation": 1},
        {"config.anchors.ratios": ((2.0,), (), (), (), (3.0,))},
        {},
    ) == [
        "loss.iou_threshold=0.4,decoder.iou_threshold=0.3,seed=0",
        "no_atrous,seed=0",
        "ratios=2.0_3.0,seed=0",
        "base,seed=0",
    ]


def test_long_names_are_cut_and_stay_different():
    long = [{"config.augment.kernels": (kernel,) * 40} for kernel in ("linear", "area")]
    first, second = names(*[{**x, "config.loss.alpha": 2.0} for x in long])
    assert max(len(first), len(second)) <= 107
    assert first != second
    assert names({**long[0], "config.loss.alpha": 2.0}) == [first]


def test_duplicates_are_counted():
    made = plan({"config.loss.alpha": 1.0}, {"config.loss.alpha": 1}, {"config.loss.alpha": 2})
    assert [trial.setting for trial in made.trials] == ["alpha=1.0", "alpha=2"]
    assert made.duplicates == 1
    # Another name for the same is the same, and so is what the command line makes the same.
    assert plan({}, {"config.name": "x"}).duplicates == 1
    assert (
        plan(
            {"config.train.seed": 0},
            {"config.train.seed": 1},
            from_command={"config.train.seed": 5},
        ).duplicates
        == 1
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"config.anchors.s_mim": 1.0},
            r"anchors\.s_mim: there is no such field; did you mean config\.anchors\.s_min\?",
        ),
        (
            {"config.anchor.s_min": 1.0},
            r"anchor\.s_min: there is no such field; did you mean config\.anchors\?",
        ),
        (
            {"config.model.backbone.depth": 50},
            r"the backbone 'vgg16' has no depth; resnet has it: .*config\.model\.backbone=resnet",
        ),
        ({"config.train.steps": "many"}, r"config\.train\.steps: expected int, got 'many'"),
        ({"config.train.steps.x": 1}, r"config\.train\.steps is a field and not a group"),
        (
            {"anchors.s_min": 0.1},
            r"anchors\.s_min: expected a field .*; did you mean config\.anchors\.s_min\?",
        ),
        ({"s_min": 0.1}, r"s_min: expected a field .*; did you mean config\.anchors\.s_min\?"),
        ({"config": 3}, r"config: expected a field"),
    ],
)
def test_a_mistake_names_the_file_the_trial_and_the_nearest_field(overrides, message):
    with pytest.raises(ValueError, match=rf"y\.py, trial 2: .*{message}"):
        plan({}, overrides)


def test_two_different_trials_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"trial 2: another trial is called a,seed=0"):
        plan({"config.name": "a"}, {"config.name": "a", "config.loss.alpha": 2.0})


@pytest.mark.parametrize(
    "overrides",
    [
        {
            "config.anchors.ratios": ((), (2,), (2.0, 3.0), (), ()),
            "config.anchors.first_scale": 0.1,
        },
        {"config.model.extras.layers": (), "config.model.extras.sources": ("conv4_3", "fc7")},
        {"config.model.extras.l2_norm": (10, 0.0), "config.name": "two words, one"},
        {"config.anchors": "sizes", "config.anchors.more_sizes": ((), ((60, 0), (70.5, 80.0)))},
        {"config.model.backbone.depth": 50, "config.model.backbone": "resnet"}
        | {"config.model.extras.sources": ("res3d", "res5c"), "config.augment.flip": False},
        {"config.model": "refinedet", "config.model.cascade": False},
        {"config.anchors.first_scale": None, "config.loss.confidence": "focal"},
        {"config.model.image_size": (64, 96), "config.optimizer.learning_rate": 1e-05},
        {"config.anchors": "preset", "config.augment.kernels": ("linear",)},
    ],
)
def test_flags_say_the_same_as_the_overrides(overrides):
    [trial] = plan(overrides).trials
    given = trials.flags(trial, sweep(overrides), {"config.train.steps": 7})
    assert given[-1] == f"--config.train.steps={trial.experiment.train.steps}"
    rest, found = cli.take_overrides(["train", *given])
    assert rest == ["train"]
    values = ssd.get_config("small,voc").to_dict()
    config.override(values, found)
    assert config.resolve(values) == trial.experiment


def test_a_whole_group_is_no_flag():
    overrides = {"config.augment": config.Augment(flip=False)}
    [trial] = plan(overrides).trials
    with pytest.raises(ValueError, match=r"config\.augment: expected a field or a part"):
        trials.flags(trial, sweep(overrides), {})


def test_a_file_is_read(tmp_path):
    path = tmp_path / "y.py"
    path.write_text(
        "from ssd_jax import sweeps\n"
        "CONFIG = 'configs/quickstart.py'\n"
        "COMMON = {'config.train.steps': 3}\n"
        "def get_sweep():\n"
        "    yield from sweeps.seeds(2)\n"
    )
    read = trials.read(str(path))
    assert read.config == "configs/quickstart.py"
    assert read.common == {"config.train.steps": 3}
    assert read.trials == ({"config.train.seed": 0}, {"config.train.seed": 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is none called"),
        ("x = 1", r"expected it to define get_sweep\(\)"),
        ("def get_sweep():\n    return 1 / 0", "ZeroDivisionError"),
        ("def get_sweep(:", "SyntaxError"),
        ("def get_sweep():\n    return []", "returned no trial"),
        ("def get_sweep():\n    return [3]", "trial 1: expected a dict .* got 3"),
        ("COMMON = 5\ndef get_sweep():\n    return [{}]", "COMMON: expected a dict .* got 5"),
    ],
)
def test_a_file_that_is_no_sweep_says_why(tmp_path, text, message):
    path = tmp_path / "y.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=rf"y\.py.*{message}|{message}.*y\.py"):
        trials.read(str(path))
