"""The one config schema: frozen dataclasses inside, an ml_collections.ConfigDict at the boundary.

A file in configs/ starts from `defaults()`, sets what its experiment changes, and returns the
ConfigDict; the command line may override any field; `resolve` then checks every name and type and
returns an `Experiment`. Nothing behind that point sees a ConfigDict.

Where a group is a part (the detector, its backbone, its neck, the rule for anchors, the losses, the
schedule), its name chooses which one, and its other fields are that part's own:

    config.model.backbone = part(ResNet(depth=50))          # in a config file
    --config.model.backbone=resnet --config.model.backbone.depth=50
    "backbone": {"name": "resnet", "depth": 50}             # in config.json
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Annotated, Any

import ml_collections

from ssd_jax import python_files, settings
from ssd_jax.detectors import DETECTORS
from ssd_jax.detectors.anchor_rules import ANCHOR_RULES, LinearScales
from ssd_jax.detectors.decoder import Decoder
from ssd_jax.detectors.input import Input
from ssd_jax.detectors.multibox import Multibox
from ssd_jax.detectors.ssd import SSD
from ssd_jax.registry import CHANGEABLE
from ssd_jax.replacing import replacing
from ssd_jax.schedules import SCHEDULES, StepDecay


@dataclasses.dataclass(frozen=True)
class Augment:
    """The parts of the SSD augmentation that are on, and the numbers that people change."""

    photometric: bool = True
    expand: bool = True
    crop: bool = True
    flip: bool = True
    max_expand: float = 4.0
    min_crop_scale: float = 0.3  # released code; the paper says .1
    kernels: tuple[str, ...] = ("linear", "area", "nearest", "cubic", "lanczos4")
    antialias: bool = False  # widen the kernels when shrinking; the released code does not


@dataclasses.dataclass(frozen=True)
class Data:
    """What to train and evaluate on, and how the host loads it."""

    train: str = ""  # NAME:SPLIT of prepared data sets; several, with commas, are one
    eval: str = ""  # the same
    data_dir: str = "datasets"
    canvas: tuple[int, int] = (512, 512)  # height, width of the padded uint8 images
    max_objects: int = 64  # G
    use_difficult: bool = True  # in training
    num_workers: int = 0  # processes that decode; 0: threads of this process


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """The update rule and its schedule, in steps."""

    name: str = "sgd"  # sgd, rmsprop or adam
    learning_rate: float = 1e-3
    reference_batch_size: int = 0  # >0: the rate is for this batch, and a larger one's is scaled
    schedule: Annotated[Any, SCHEDULES] = StepDecay()
    warmup_steps: int = 0
    warmup_fraction: float = 1.0 / 3.0  # of the rate, where the warm-up starts
    momentum: float = 0.9
    weight_decay: float = 5e-4  # not on biases and BatchNorm
    bias_multiplier: float = 2.0  # of the rate
    clip_norm: float = 0.0  # of the whole gradient; 0: off
    frozen: tuple[str, ...] = ()  # parameters that are left alone: patterns such as "backbone/*"


GRADIENT_DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Train:
    """The run."""

    steps: int = 120_000
    batch_size: int = 32  # over all devices of all processes
    accumulation: int = 1  # parts in which a device works through its images, to save memory
    gradient_dtype: str = "float32"  # between devices; "bfloat16" halves the bytes
    seed: int = 0
    ema_decay: float = 0.0  # 0: off; otherwise evaluation uses the averaged parameters
    log_every: int = 50
    eval_every: int = 5000  # 0: only at the end
    checkpoint_every: int = 1000
    keep_recent: int = 2  # checkpoints
    keep_best: int = 1  # by mAP
    num_pictures: int = 8  # validation pictures at each evaluation

    def __post_init__(self) -> None:
        """Refuses values that no run can have."""
        if self.accumulation < 1:
            raise ValueError(f"Train.accumulation: expected 1 or more, got {self.accumulation}")
        if self.gradient_dtype not in GRADIENT_DTYPES:
            raise ValueError(
                f"Train.gradient_dtype: expected one of {GRADIENT_DTYPES}, got "
                f"{self.gradient_dtype!r}"
            )


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """The evaluation."""

    batch_size: int = 32
    iou_thresholds: tuple[float, ...] = ()  # of further VOC mAPs; `mAP` itself is at .5


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything about a run; what a config file describes and a workdir saves."""

    name: str = ""
    model: Annotated[Any, DETECTORS] = SSD()
    input: Input = Input()
    anchors: Annotated[Any, ANCHOR_RULES] = LinearScales()
    loss: Multibox = Multibox()
    decoder: Decoder = Decoder()
    augment: Augment = Augment()
    data: Data = Data()
    optimizer: Optimizer = Optimizer()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    init_from: str = ""  # weights to begin with: a workdir, or a file (see pretrained/)
    init_only: tuple[str, ...] = ()  # patterns of what to take of them, as "backbone/*"; (): all
    init_partial: bool = False  # leave fresh what has another shape there; otherwise an error
    class_names: tuple[str, ...] = ()  # without background; (): from the data set
    category_ids: tuple[int, ...] = ()  # their numbers in the annotations; (): from the data set


# The saved config of a run, in its workdir.
FILE = "config.json"

# The form of saved configs; a reader of another form refuses them.
FORMAT = 2

# Groups that a run cannot change on its way: what it has learned would not fit.
FIXED_IN_A_RUN = ("model", "input", "anchors", "class_names")

_TOP = "config"


def defaults() -> ml_collections.ConfigDict:
    """Returns the schema's defaults as a ConfigDict for a config file to change."""
    return part(Experiment())


def part(value: Any) -> ml_collections.ConfigDict:
    """Returns a part, such as `ResNet(depth=50)`, as a config file assigns it to its group."""
    name = settings.part_name(Experiment, value)
    own = {} if name is None else {settings.NAME: name}
    return ml_collections.ConfigDict(own | settings.to_dict(value))


def parse_variant(text: str, file: str, *choices: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the parts of a config file's argument, such as "300,voc".

    Args:
        text: the parts, joined by commas.
        file: the config's, for the error.
        choices: what each part may be.

    Raises:
        ValueError: for anything else, naming the choices.
    """
    parts = tuple(text.split(","))
    if len(parts) != len(choices) or any(
        part not in names for part, names in zip(parts, choices, strict=True)
    ):
        expected = ", a comma, ".join(f"one of {names}" for names in choices)
        raise ValueError(f"{file}: expected {expected}; got {text!r}")
    return parts


def read_file(name: str) -> dict[str, Any]:
    """Runs a config file and returns what its `get_config` returns, as nested dicts.

    Args:
        name: "FILE" or "FILE:VARIANT", as in "configs/ssd.py:300,voc". A file of the package
            `configs` may import its neighbours.

    Raises:
        ValueError: where there is no such file or variant, or it returns no config.
    """
    file, colon, variant = name.partition(":")
    module = python_files.load(file, "--config")
    if not hasattr(module, "get_config"):
        raise ValueError(f"{file}: expected a function get_config, as in the files of configs/")
    values = module.get_config(variant) if colon else module.get_config()
    if not isinstance(values, ml_collections.ConfigDict):
        raise ValueError(f"{file}: expected get_config to return a ConfigDict, got {values!r}")
    return values.to_dict()


def override(values: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Changes a config, as nested dicts, in place; see `settings.override`."""
    settings.override(Experiment, values, changes, _TOP)


def resolve(config: ml_collections.ConfigDict | dict[str, Any]) -> Experiment:
    """Checks every name and type of a config and freezes it.

    Args:
        config: what a config file returned, or the same as a plain dict (missing fields take their
            defaults).

    Raises:
        ValueError: for an unknown field (with the nearest valid name, or the part that has it), a
            value of another type, or values that contradict each other.
    """
    if isinstance(config, ml_collections.ConfigDict):
        config = config.to_dict()
    return settings.from_dict(Experiment, config, _TOP)


def to_json(experiment: Experiment) -> str:
    """Returns the resolved config as JSON, with the number of its format."""
    return json.dumps({"format": FORMAT, **settings.to_dict(experiment)}, indent=2) + "\n"


def from_json(text: str) -> Experiment:
    """Returns what `to_json` wrote.

    Raises:
        ValueError: where the text is no JSON, is of another format, or does not fit the schema.
    """
    values = json.loads(text)
    _require_format(values)
    values.pop("format")
    return resolve(values)


def save(experiment: Experiment, path: pathlib.Path) -> None:
    """Writes the resolved config as JSON, whole or not at all."""
    with replacing(path) as aside:
        aside.write_text(to_json(experiment))


def load(path: pathlib.Path) -> Experiment:
    """Reads what `save` wrote; raises a ValueError that names the file where it does not fit."""
    try:
        return from_json(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"config.load: no {path}; is this the workdir of a run?") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is damaged: {error}; the command that trained writes it again"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def check_format(path: pathlib.Path) -> None:
    """Raises a ValueError where another version saved a workdir's config.

    A file that cannot be read says nothing: the run writes it anew.
    """
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return
    try:
        _require_format(values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _require_format(values: Any) -> None:
    found = values.get("format") if isinstance(values, dict) else None
    if found != FORMAT:
        raise ValueError(
            f"this config has {f'format {found}' if found else 'no format number'}, and this "
            f"version of ssd_jax reads format {FORMAT}; read it with the version that wrote it, or "
            "train again in another workdir"
        )


def with_classes(
    experiment: Experiment,
    class_names: tuple[str, ...],
    source: str,
    category_ids: tuple[int, ...] = (),
) -> Experiment:
    """Returns the experiment with the classes that its data set decides.

    Args:
        experiment: its own class names or number of classes, where given, must be the same.
        class_names: of the data set, without background.
        source: the data set's name, for the error.
        category_ids: the numbers of the classes in its annotations; (): those of the experiment.

    Raises:
        ValueError: where the config names other classes, or another number of them.
    """
    if experiment.class_names not in ((), class_names):
        raise ValueError(
            f"config.class_names: {experiment.class_names}, but {source} has {class_names}"
        )
    # Imported weights may have logits that are no class here.
    num_classes = len(class_names) + 1 + len(experiment.decoder.unreported)
    if experiment.model.num_classes not in (0, num_classes):
        raise ValueError(
            f"config.model.num_classes: {experiment.model.num_classes}, but {source} has "
            f"{len(class_names)} classes, which with the background are {num_classes}"
        )
    model = dataclasses.replace(experiment.model, num_classes=num_classes)
    return dataclasses.replace(
        experiment,
        model=model,
        class_names=class_names,
        category_ids=category_ids or experiment.category_ids,
    )


def differences(old: Experiment, new: Experiment) -> dict[str, tuple[Any, Any]]:
    """Returns the fields that differ, as {"group.field": (old, new)}."""
    return settings.differences(old, new)


def is_fixed_in_a_run(experiment: Experiment, path: str) -> bool:
    """Returns whether a run cannot change a field, such as "model.width", on its way."""
    group, *names = path.split(".")
    if group not in FIXED_IN_A_RUN:
        return False
    value = getattr(experiment, group)
    for name in names[:-1]:
        value = getattr(value, name)
    fields = {x.name: x for x in dataclasses.fields(value)} if names else {}
    return not (names and names[-1] in fields and fields[names[-1]].metadata.get(CHANGEABLE))
