"""The one config schema: frozen dataclasses inside, an ml_collections.ConfigDict at the boundary.

A file in configs/ starts from `defaults()`, sets what its experiment changes, and returns the
ConfigDict; the command line may override any field; `resolve` then checks every name and type and
returns an `Experiment`. Nothing behind that point sees a ConfigDict.
"""

import dataclasses
import difflib
import json
import pathlib
import types
import typing
from typing import Any

import ml_collections
from ml_collections import config_dict

from ssd_jax.replacing import replacing


@dataclasses.dataclass(frozen=True)
class Model:
    """The network: which system, and its shape."""

    name: str = "ssd"
    backbone: str = "vgg16"
    image_size: tuple[int, int] = (300, 300)  # height, width of the network's input, pixels
    num_classes: int = 0  # background included; 0: from the data set
    width: float = 1.0  # multiplies every channel count but the heads'
    batch_norm: bool = False  # after every convolution of backbone and extras
    # Where BatchNorm uses its running statistics in training too: "nowhere", "maps" (backbone and
    # extras) or "everywhere".
    freeze_batch_norm: str = "nowhere"
    batch_norm_momentum: float = 0.9  # the old value's share in the running statistics
    batch_norm_epsilon: float = 1e-5
    added_momentum: float | None = None  # of BatchNorm after the backbone; None: the same
    added_epsilon: float | None = None
    folded: bool = False  # of BatchNorm only a bias is left; predict folds a trained network itself
    padding: str = "symmetric"  # or "same", as TensorFlow pads
    depth: str = ""  # mobilenet_v1: the last layer of the backbone; "": conv13
    pool5_stride: int = 1  # vgg16; 2 for RefineDet and SSD's ablation "no atrous"
    fc6_dilation: int = 6  # vgg16; 3 for RefineDet, 1 for "no atrous"
    resnet_form: str = "original"  # or "torchvision": where blocks stride, how they pool
    dilated_conv5: bool = False  # resnets: conv5 at conv4's resolution (DSSD)
    sources: tuple[str, ...] = ("conv4_3", "fc7")  # of the backbone, finest first
    # After the backbone: (1x1 channels, 3x3 channels, kernel, stride, padding) of each pair.
    extras: tuple[tuple[int, int, int, int, int], ...] = ()
    head_kernels: tuple[int, ...] = (3,)  # of every head, or one for each
    extras_form: str = "plain"  # "separable" (SSDLite) or "bottleneck" (on ResNet)
    separable: bool = False  # SSDLite: heads of depthwise and 1x1 convolutions
    l2_norm: dict[str, float] = dataclasses.field(default_factory=lambda: {"conv4_3": 20.0})
    prediction_module: str = "a"  # before every head: "a" (none), "b", "c" or "d" (DSSD)
    prediction_kernel: int = 3  # of its middle convolution; 1: the paper's figure
    deconvolution: str = ""  # DSSD: how it joins the maps, "product" or "sum"; "": SSD's maps
    # RefineDet's three parts, which its ablation switches off.
    negative_filtering: bool = True
    cascade: bool = True  # two-step regression
    transfer_connections: bool = True
    transfer_channels: int = 256  # of their convolutions, before `width`
    dtype: str = "float32"  # of the convolutions; parameters and losses stay float32


@dataclasses.dataclass(frozen=True)
class Input:
    """What the network was trained to see; applied inside the detector, saved with its weights."""

    mean: tuple[float, float, float] = (123.0, 117.0, 104.0)  # RGB, on 0-255
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)  # divides after the mean
    channel_order: str = "rgb"  # of the network's first convolution; pictures are always RGB


@dataclasses.dataclass(frozen=True)
class Anchors:
    """The default boxes: a preset, sizes in pixels, or the paper's linear rule."""

    preset: str = ""  # a row of the table in ops/anchors.py, to which only `clip` adds
    min_sizes: tuple[float, ...] = ()  # pixels of the input, one per source; (): the linear rule
    max_sizes: tuple[float, ...] = ()  # pixels, one per source
    # Further (min, max) sizes on each source, with its ratios; a max of 0: no second square.
    more_sizes: tuple[tuple[tuple[float, float], ...], ...] = ()
    s_min: float = 0.2
    s_max: float = 0.9
    first_scale: float | None = None  # a scale of its own for the first source (paper: .1)
    ratios: tuple[tuple[float, ...], ...] = ()  # per source, without 1; inverses are added
    steps: tuple[float, ...] = ()  # pixels, one per source; (): image size / map size
    whole_pixels: bool = False  # cast sizes to whole pixels, as the released code does
    clip: str = ""  # what of an anchor is kept in the image: "corners", "sides" or "cxcywh"


@dataclasses.dataclass(frozen=True)
class Loss:
    """Matching, mining and the multibox loss."""

    iou_threshold: float = 0.5
    border_anchors: bool = True  # False: anchors that cross the image's border are not trained
    negative_ratio: float = 3.0
    localization: str = "smooth_l1"  # or "l2"
    confidence: str = "softmax"  # or "focal"
    alpha: float = 1.0  # weight of the localisation part
    variances: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)
    # RefineDet: anchors that the refinement gives this probability of background are no negatives
    # of the detection, nor, where the second is set, positives.
    filter_threshold: float = 0.99
    filter_positives: bool = False


@dataclasses.dataclass(frozen=True)
class Decoder:
    """From predictions to detections."""

    score_threshold: float = 0.01
    iou_threshold: float = 0.45
    pre_nms_top_k: int = 400  # per class
    max_detections: int = 200  # over all classes
    clip_before_nms: bool = False  # torchvision; otherwise boxes are clipped at the output only
    objectness_threshold: float = 0.01  # RefineDet: anchors below it detect nothing
    # Logits of imported weights that are no class here: part of the softmax, but never detected.
    unreported: tuple[int, ...] = ()
    soft_nms: bool = False  # lower the scores of overlapped boxes (linear) and keep them
    # Testing at several sizes: factors of model.image_size; their detections are joined.
    test_scales: tuple[float, ...] = (1.0,)
    test_flip: bool = False  # and on the mirrored picture
    box_voting: bool = False  # average each detection with those it suppressed


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
    schedule: str = "step"  # or "cosine"
    boundaries: tuple[int, ...] = ()  # of "step"
    decay_factor: float = 0.1  # of "step"
    warmup_steps: int = 0
    warmup_fraction: float = 1.0 / 3.0  # of the rate, where the warm-up starts
    momentum: float = 0.9
    weight_decay: float = 5e-4  # not on biases and BatchNorm
    bias_multiplier: float = 2.0  # of the rate
    clip_norm: float = 0.0  # of the whole gradient; 0: off
    frozen: tuple[str, ...] = ()  # parameters that are left alone: patterns such as "backbone/*"


@dataclasses.dataclass(frozen=True)
class Train:
    """The run."""

    steps: int = 120_000
    batch_size: int = 32  # over all devices of all processes
    seed: int = 0
    ema_decay: float = 0.0  # 0: off; otherwise evaluation uses the averaged parameters
    log_every: int = 50
    eval_every: int = 5000  # 0: only at the end
    checkpoint_every: int = 1000
    keep_recent: int = 2  # checkpoints
    keep_best: int = 1  # by mAP
    num_pictures: int = 8  # validation pictures at each evaluation


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """The evaluation."""

    batch_size: int = 32
    iou_thresholds: tuple[float, ...] = ()  # of further VOC mAPs; `mAP` itself is at .5


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything about a run; what a config file describes and a workdir saves."""

    name: str = ""
    model: Model = Model()
    input: Input = Input()
    anchors: Anchors = Anchors()
    loss: Loss = Loss()
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

# Groups that a run cannot change on its way: what it has learned would not fit.
FIXED_IN_A_RUN = ("model", "input", "anchors", "class_names")


def defaults() -> ml_collections.ConfigDict:
    """Returns the schema's defaults as a ConfigDict for a config file to change."""
    return _to_config_dict(Experiment())


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


def resolve(config: ml_collections.ConfigDict | dict[str, Any]) -> Experiment:
    """Checks every name and type of a config and freezes it.

    Args:
      config: what a config file returned, or the same as a plain dict (missing fields take their
        defaults).

    Raises:
      ValueError: for an unknown field (with the nearest valid name), or a value of another type.
    """
    if isinstance(config, ml_collections.ConfigDict):
        config = config.to_dict()
    return _build(Experiment, config, "config")


def save(experiment: Experiment, path: pathlib.Path) -> None:
    """Writes the resolved config as JSON, whole or not at all."""
    with replacing(path) as aside:
        aside.write_text(json.dumps(dataclasses.asdict(experiment), indent=2) + "\n")


def load(path: pathlib.Path) -> Experiment:
    """Reads what `save` wrote; raises a ValueError that names the file where it does not fit."""
    try:
        return resolve(json.loads(path.read_text()))
    except FileNotFoundError:
        raise ValueError(f"config.load: no {path}; is this the workdir of a run?") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is damaged: {error}; the command that trained writes it again"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


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
      ValueError: where the config names other classes, or another number of them, or has logits
        that are none.
    """
    if experiment.decoder.unreported:
        raise ValueError(
            f"config.decoder.unreported: {experiment.decoder.unreported}, but only imported "
            "weights have logits that are no class; leave it away"
        )
    if experiment.class_names not in ((), class_names):
        raise ValueError(
            f"config.class_names: {experiment.class_names}, but {source} has {class_names}"
        )
    num_classes = len(class_names) + 1
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
    old_fields, new_fields = _flatten(dataclasses.asdict(old)), _flatten(dataclasses.asdict(new))
    names = sorted({*old_fields, *new_fields})
    pairs = {name: (old_fields.get(name), new_fields.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in values.items():
        nested = isinstance(value, dict)
        flat |= _flatten(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return flat


def _to_config_dict(value: Any) -> ml_collections.ConfigDict:
    hints = typing.get_type_hints(type(value))
    config = ml_collections.ConfigDict()
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        if dataclasses.is_dataclass(item):
            item = _to_config_dict(item)
        elif isinstance(item, dict):
            item = ml_collections.ConfigDict(item)
        elif item is None:
            [kind] = [t for t in typing.get_args(hints[field.name]) if t is not types.NoneType]
            item = config_dict.placeholder(kind)
        config[field.name] = item
    return config


def _build(cls: type, values: Any, where: str) -> Any:
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected a group of fields, got {values!r}")
    hints = typing.get_type_hints(cls)
    for name in values:
        if name not in hints:
            raise ValueError(f"{where}.{name}: no such field{_suggest(str(name), list(hints))}")
    return cls(**{name: _check(hints[name], v, f"{where}.{name}") for name, v in values.items()})


def _check(kind: Any, value: Any, where: str) -> Any:
    """Returns `value` as type `kind`; lists become tuples and whole numbers floats where asked."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _build(typing.cast(type, kind), value, where)
    if origin in (typing.Union, types.UnionType):
        if value is None and types.NoneType in args:
            return None
        [kind] = [t for t in args if t is not types.NoneType]
        return _check(kind, value, where)
    if origin is tuple and isinstance(value, list | tuple):
        if args[-1] is Ellipsis:
            args = (args[0],) * len(value)
        if len(args) == len(value):
            pairs = enumerate(zip(args, value, strict=True))
            return tuple(_check(kind, item, f"{where}[{i}]") for i, (kind, item) in pairs)
    elif origin is dict and isinstance(value, dict):
        return {name: _check(args[1], item, f"{where}.{name}") for name, item in value.items()}
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif origin is None and isinstance(value, kind) and isinstance(value, bool) == (kind is bool):
        return value
    raise ValueError(f"{where}: expected {_describe(kind)}, got {value!r}")


def _describe(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)


def _suggest(name: str, valid: list[str]) -> str:
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    listed = ", ".join(sorted(valid))
    return f"; did you mean {near[0]}?" if near else f"; the fields here are {listed}"
