"""Reads somebody's trained detector and writes it as one of ours, with the config it needs.

    python -m launch.import_weights --source ssd300_mAP_77.43_v2.pth --model ssd300_voc \
      --output ssd300.npz
    python -m launch.predict --weights ssd300.npz --input pictures --output out

The output serves launch.predict and launch.evaluate as --weights, and launch.train as
--config.init_from. Models, and whose files are known:

  ssd300_voc, ssd300_coco    Caffe (the authors'), ssd.pytorch; torchvision's ssd300_vgg16 is an
                             ssd300_coco, whatever its classes: the default boxes are meant
  ssd512_voc, ssd512_coco    Caffe (the authors')
  mobilenet_ssd              Caffe (chuanqi305), as trained and as deployed
  refinedet320, refinedet512 Caffe (the authors'), RefineDet.PyTorch
"""

import logging
import pathlib

from absl import flags

from ssd_jax import config
from ssd_jax.pretrained import detector_file, detectors, files

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
    "Their names in the file's order, without background, '-' for one to leave out; by default "
    "VOC's of 20, COCO's of 80, COCO's of 90 less the ten that nobody has, and otherwise numbers.",
)
_PARTIAL = flags.DEFINE_bool(
    "allow_partial", False, "Leave the class heads untrained where --classes are more or fewer."
)
_SHOWN = 5

log = logging.getLogger("ssd_jax")


def config_of(model: str) -> dict[str, Any]:
    """Returns the config of the network that a model is, as nested dicts."""
    return config.read_file(f"configs/{_CONFIGS[model]}") | {"name": model}


def main() -> None:
    """Runs the command."""
    output = pathlib.Path(_OUTPUT.value)
    if output.suffix != detector_file.SUFFIX:
        raise ValueError(f"--output: expected a name that ends in .npz, got {output}")
    arrays = files.read(pathlib.Path(_SOURCE.value), _FORMAT.value)
    family = detectors.find(arrays, _MODEL.value)
    values = config_of(_MODEL.value)
    config.override(values, family.overrides)
    imported = detectors.convert(
        arrays,
        family,
        config.resolve(values),
        names=_CLASSES.value,
        allow_partial=_PARTIAL.value,
    )
    detector_file.save(output, imported.experiment, imported.variables)
    log.info("%s: %s, %d arrays used", _SOURCE.value, family.name, len(family.used))
    for heading, found in (
        ("in it and not used", imported.unused),
        ("class heads left untrained, for other classes", imported.fresh),
    ):
        if found:
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            log.info("  %d %s: %s%s", len(found), heading, ", ".join(found[:_SHOWN]), more)
    names = imported.experiment.class_names
    log.info("  %d classes: %s", len(names), ", ".join(names))
    log.info("Written to %s", output)


if __name__ == "__main__":
    cli.run(main)
