"""What every system's network is made from: the maps of a config, and their sizes."""

import jax
import jax.numpy as jnp

from ssd_jax import config
from ssd_jax.detectors import backbones
from ssd_jax.models import prediction_module
from ssd_jax.models.source_maps import EXTRA_FORMS, SourceMaps


def source_maps(spec: config.Model) -> SourceMaps:
    """Returns the maps that the heads read.

    Raises:
      ValueError: for fields that contradict each other, naming them.
    """
    if spec.extras_form not in EXTRA_FORMS:
        raise ValueError(
            f"config.model.extras_form: expected one of {EXTRA_FORMS}, got {spec.extras_form!r}"
        )
    if spec.prediction_module not in prediction_module.FORMS:
        raise ValueError(
            f"config.model.prediction_module: expected one of {prediction_module.FORMS}, got "
            f"{spec.prediction_module!r}"
        )
    return SourceMaps(
        backbone=backbones.build(spec),
        sources=spec.sources,
        extras=spec.extras,
        l2_norm=spec.l2_norm,
        form=spec.extras_form,
        width=spec.width,
        style=backbones.style(spec, "extras"),
    )


def head_kernels(spec: config.Model) -> tuple[int, ...]:
    """Returns the side of the convolutions of each map's head.

    Raises:
      ValueError: where there is neither one for all nor one for each.
    """
    num_maps = len(spec.sources) + len(spec.extras)
    if len(spec.head_kernels) not in (1, num_maps):
        raise ValueError(
            f"config.model.head_kernels: expected one kernel, or one for each of the {num_maps} "
            f"sources and extras, got {spec.head_kernels}"
        )
    return spec.head_kernels * (num_maps // len(spec.head_kernels))


def map_sizes(maps: SourceMaps, image_size: tuple[int, int]) -> list[tuple[int, int]]:
    """Returns the rows and columns of the maps, by abstract evaluation.

    Raises:
      ValueError: where the image is too small for the layers.
    """
    images = jax.ShapeDtypeStruct((1, *image_size, 3), jnp.float32)
    found, _ = jax.eval_shape(
        lambda x: maps.init_with_output(jax.random.key(0), x, train=False), images
    )
    sizes = [(x.shape[1], x.shape[2]) for x in found]
    if min(map(min, sizes)) < 1:
        raise ValueError(
            f"config.model.extras: an input of {image_size} is too small for these layers; their "
            f"feature maps would be {sizes}"
        )
    return sizes
