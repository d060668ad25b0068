"""The backbones that a config can name, and the style of all convolutions that it describes."""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax.numpy as jnp

from ssd_jax import config
from ssd_jax.models import mobilenet, resnet, vgg
from ssd_jax.models.layers import Network, Style


@dataclasses.dataclass(frozen=True)
class _Entry:
    features: tuple[str, ...]  # the maps that can be sources
    build: Callable[[config.Model, Style], Network]
    relu6: bool = False


def _resnet(depth: int, spec: config.Model, style: Style) -> Network:
    return resnet.ResNet(depth, spec.width, spec.resnet_form, spec.dilated_conv5, style)


_BACKBONES: Mapping[str, _Entry] = {
    "vgg16": _Entry(
        vgg.FEATURES,
        lambda spec, style: vgg.VGG16(spec.width, spec.pool5_stride, spec.fc6_dilation, style),
    ),
    "resnet50": _Entry(resnet.block_names(50), functools.partial(_resnet, 50)),
    "resnet101": _Entry(resnet.block_names(101), functools.partial(_resnet, 101)),
    "mobilenet_v1": _Entry(
        mobilenet.V1_FEATURES,
        lambda spec, style: mobilenet.MobileNetV1(
            spec.width, spec.depth or mobilenet.V1_FEATURES[-1], style
        ),
    ),
    "mobilenet_v2": _Entry(
        mobilenet.V2_FEATURES,
        lambda spec, style: mobilenet.MobileNetV2(spec.width, style),
        relu6=True,
    ),
}


def build(spec: config.Model) -> Network:
    """Returns the backbone of a config.

    Raises:
      ValueError: for an unknown backbone or source, naming those there are.
    """
    backbone = _find(spec.backbone)
    unknown = [name for name in (*spec.sources, *spec.l2_norm) if name not in backbone.features]
    if unknown or not spec.sources:
        raise ValueError(
            f"config.model.sources and l2_norm: expected names among {backbone.features}, "
            f"got {spec.sources} and {spec.l2_norm}"
        )
    if spec.pool5_stride not in (1, 2) or spec.fc6_dilation < 1:
        raise ValueError(
            "config.model.pool5_stride and fc6_dilation: expected 1 or 2, and at least 1, got "
            f"{spec.pool5_stride} and {spec.fc6_dilation}"
        )
    if spec.resnet_form not in resnet.FORMS:
        raise ValueError(
            f"config.model.resnet_form: expected one of {resnet.FORMS}, got {spec.resnet_form!r}"
        )
    if spec.depth and (spec.backbone != "mobilenet_v1" or spec.depth not in backbone.features):
        raise ValueError(
            f"config.model.depth: expected '' or, for mobilenet_v1, one of "
            f"{mobilenet.V1_FEATURES}, got {spec.depth!r} for {spec.backbone}"
        )
    if spec.depth:
        known = backbone.features[: backbone.features.index(spec.depth) + 1]
        if beyond := [name for name in spec.sources if name not in known]:
            raise ValueError(
                f"config.model.sources: {', '.join(beyond)} lies beyond config.model.depth "
                f"{spec.depth}"
            )
    return backbone.build(spec, style(spec, "backbone"))


def style(spec: config.Model, part: str = "") -> Style:
    """Returns what all convolutions of a part of a config's network have in common.

    Args:
      spec: the config's group.
      part: "backbone", "extras", or "" for what reads their maps.

    Raises:
      ValueError: for an unknown dtype or padding.
    """
    if spec.freeze_batch_norm not in ("nowhere", "maps", "everywhere"):
        raise ValueError(
            "config.model.freeze_batch_norm: expected 'nowhere', 'maps' or 'everywhere', got "
            f"{spec.freeze_batch_norm!r}"
        )
    if spec.dtype not in ("float32", "bfloat16"):
        raise ValueError(
            f"config.model.dtype: expected 'float32' or 'bfloat16', got {spec.dtype!r}"
        )
    if spec.padding not in ("symmetric", "same"):
        raise ValueError(
            f"config.model.padding: expected 'symmetric' (Caffe, PyTorch) or 'same' "
            f"(TensorFlow), got {spec.padding!r}"
        )
    frozen = ("maps", "everywhere") if part else ("everywhere",)
    momentum, epsilon = spec.batch_norm_momentum, spec.batch_norm_epsilon
    if part != "backbone":
        momentum = momentum if spec.added_momentum is None else spec.added_momentum
        epsilon = epsilon if spec.added_epsilon is None else spec.added_epsilon
    return Style(
        batch_norm=spec.batch_norm,
        freeze_batch_norm=spec.freeze_batch_norm in frozen,
        folded=spec.folded,
        momentum=momentum,
        epsilon=epsilon,
        same_padding=spec.padding == "same",
        relu6=_find(spec.backbone).relu6,
        dtype=jnp.dtype(spec.dtype),
    )


def _find(name: str) -> _Entry:
    if name not in _BACKBONES:
        raise ValueError(f"config.model.backbone: expected one of {[*_BACKBONES]}, got {name!r}")
    return _BACKBONES[name]
