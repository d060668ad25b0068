"""Reads a detector that others trained, and writes it with the config that it needs.

    python -m launch.import_weights --source ssd300_mAP_77.43_v2.pth --model ssd300_voc \
      --output ssd300.npz
    python -m launch.predict --weights ssd300.npz --input pictures --output out

launch.predict and launch.evaluate take the output as --weights, and launch.train as
--config.init_from. Models, and the files that are known:

  ssd300_voc, ssd300_coco    Caffe (the authors'), ssd.pytorch; torchvision's ssd300_vgg16 is an
                             ssd300_coco, whatever its classes: the default boxes are meant
  ssd512_voc, ssd512_coco    Caffe (the authors')
  mobilenet_ssd              Caffe (chuanqi305), as trained and as deployed
  refinedet320, refinedet512 Caffe (the authors'), RefineDet.PyTorch
"""

import logging
import operator
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags

from ssd_jax import config
from ssd_jax import weight_files as files
from ssd_jax.checkpoints import detector_file
from ssd_jax.pretrained import detectors
from ssd_jax.pretrained.released import without_prefix
from ssd_jax.settings import to_dict

from . import cli

_CONFIGS = {
    "ssd300_voc": "ssd.py:300,voc",
    "ssd300_coco": "ssd.py:300,coco",
    "ssd512_voc": "ssd.py:512,voc",
    "ssd512_coco": "ssd.py:512,coco",
    "mobilenet_ssd": "mobilenet_ssd.py:300,voc",
    "refinedet320": "refinedet.py:320,vgg16,voc",
    "refinedet512": "refinedet.py:512,vgg16,voc",
}

_SOURCE = flags.DEFINE_string("source", None, "The file.", required=True)
_FORMAT = flags.DEFINE_string(
    "format", "", f"One of {', '.join(files.FORMATS)}; default by the file's suffix."
)
_MODEL = flags.DEFINE_enum("model", None, list(_CONFIGS), "Which detector it is.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "A name that ends in .npz.", required=True)
_CLASSES = flags.DEFINE_list(
    "classes",
    [],
    "Their names in the file's order, without background, '-' for one to leave out. By default 20 "
    "have VOC's names, 80 COCO's, 90 COCO's without the ten that no category has, and others have "
    "numbers. A class that is left out keeps its part in the softmax, so that the scores are the "
    "file's.",
)
_PARTIAL = flags.DEFINE_bool(
    "allow_partial", False, "Leave the class heads untrained where --classes are more or fewer."
)
_SHOWN = 5

log = logging.getLogger("ssd_jax")


def config_of(model: str) -> dict[str, Any]:
    """Returns the config of a model's network, as nested dicts."""
    return config.read_file(f"configs/{_CONFIGS[model]}") | {"name": model}


def settings(imported: detectors.Imported) -> dict[str, Any]:
    """Returns the settings that a file's network was trained with, for its owner to see.

    These are the input, the decoder and the rule for the anchors, and the family's overrides.
    """
    experiment = imported.experiment
    values = {
        f"{group}.{name}": value
        for group in ("input", "decoder", "anchors")
        for name, value in to_dict(getattr(experiment, group)).items()
    }
    paths = [path.removeprefix("config.") for path in imported.family.overrides]
    return values | {path: operator.attrgetter(path)(experiment) for path in paths}


def convert(
    arrays: Mapping[str, np.ndarray],
    model: str,
    *,
    names: Sequence[str] = (),
    allow_partial: bool = False,
) -> detectors.Imported:
    """Returns the detector of a file's arrays; see `detectors.convert`.

    Raises:
        ValueError: where they do not fit this model; it names the models that they fit.
    """
    known = (family for families in detectors.FAMILIES.values() for family in families)
    arrays, prefix = without_prefix(arrays, known)
    if prefix:
        log.info("The arrays are read without their prefix %s", prefix)
    try:
        return _convert(arrays, model, names, allow_partial)
    except ValueError as error:
        # An error that the right model meets, too, has nothing to do with the choice.
        fitting = [] if _fits(arrays, model) else [x for x in _CONFIGS if _fits(arrays, x)]
        if not fitting:
            raise
        advice = " or ".join(f"--model={x}" for x in fitting)
        raise ValueError(f"{error}. This file fits {advice}") from None


def _convert(
    arrays: Mapping[str, np.ndarray],
    model: str,
    names: Sequence[str] = (),
    allow_partial: bool = False,
) -> detectors.Imported:
    family = detectors.find(arrays, model)
    values = config_of(model)
    config.override(values, family.overrides)
    imported = detectors.convert(
        arrays, family, config.resolve(values), names=names, allow_partial=allow_partial
    )
    if not names:
        detectors.check_classes(model, imported)
    return imported


def _fits(arrays: Mapping[str, np.ndarray], model: str) -> bool:
    try:
        _convert(arrays, model)
    except ValueError:
        return False
    return True


def summary(imported: detectors.Imported, source: pathlib.Path) -> list[str]:
    """Returns lines that say which arrays of a file were used, and what settings they came with."""
    lines = [f"{source}: {imported.family.name}, {len(imported.used)} arrays used"]
    for heading, found in (
        ("in it and not used", imported.unused),
        ("class heads left untrained, for other classes", imported.fresh),
    ):
        if found:
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            lines.append(f"  {len(found)} {heading}: {', '.join(found[:_SHOWN])}{more}")
    names = imported.experiment.class_names
    lines.append(f"  {len(names)} classes: {', '.join(names)}")
    lines += [f"  config.{path}: {value}" for path, value in settings(imported).items()]
    return lines


def main() -> None:
    """Runs the command."""
    output, source = pathlib.Path(_OUTPUT.value), pathlib.Path(_SOURCE.value)
    if output.suffix != detector_file.SUFFIX:
        raise ValueError(f"--output: expected a name that ends in .npz, got {output}")
    if output.exists() and source.exists() and output.samefile(source):
        raise ValueError(f"--output: {output} is the source, which would be replaced; name another")
    imported = convert(
        files.read(source, _FORMAT.value),
        _MODEL.value,
        names=_CLASSES.value,
        allow_partial=_PARTIAL.value,
    )
    detector_file.save(output, imported.experiment, imported.variables)
    for line in summary(imported, source):
        log.info("%s", line)
    log.info("Written to %s", output)


if __name__ == "__main__":
    cli.run(main)
