"""The anchors of a config: a preset, explicit sizes, or the paper's linear rule."""

import dataclasses
from collections.abc import Sequence

from ssd_jax import config
from ssd_jax.detectors import network
from ssd_jax.ops.anchors import AnchorMap, AnchorSpec, both_orientations, linear_scales, preset

MapSizes = Sequence[tuple[int, int]]


def anchor_spec(
    anchors: config.Anchors, image_size: tuple[int, int], map_sizes: MapSizes
) -> AnchorSpec:
    """Returns the anchors that a config describes, for a network's feature maps.

    Args:
      anchors: the config's group.
      image_size: height, width of the network's input, pixels.
      map_sizes: rows, columns of each source's feature map.

    Raises:
      ValueError: where a field has another length than there are sources, or a preset was made for
        another network.
    """
    if anchors.preset:
        spec = preset(anchors.preset)
        made_for = tuple(entry.map_size for entry in spec.maps)
        if spec.image_size != tuple(image_size) or made_for != tuple(map_sizes):
            raise ValueError(
                f"config.anchors.preset: {anchors.preset!r} is for an input of {spec.image_size} "
                f"and maps {made_for}, but this network has {image_size} and {tuple(map_sizes)}; "
                "set config.anchors.preset to '' and give sizes or scales"
            )
        return dataclasses.replace(spec, clip=anchors.clip)

    m = len(map_sizes)
    ratios = [both_orientations(*values) for values in _per_map("ratios", anchors.ratios, m)]
    if anchors.more_sizes and not anchors.min_sizes:
        raise ValueError(
            f"config.anchors.more_sizes: expected min_sizes beside them, got {anchors.more_sizes} "
            "alone"
        )
    steps = [(s, s) for s in _per_map("steps", anchors.steps, m)] if anchors.steps else [None] * m
    if not anchors.min_sizes:
        scales = linear_scales(
            m, s_min=anchors.s_min, s_max=anchors.s_max, first=anchors.first_scale
        )
        return AnchorSpec.from_scales(
            image_size,
            map_sizes,
            scales,
            ratios,
            steps=steps,
            clip=anchors.clip,
            whole_pixels=anchors.whole_pixels,
        )
    low = _per_map("min_sizes", anchors.min_sizes, m)
    # 0 stands for "no second square" in a list of numbers.
    high = [x or None for x in _per_map("max_sizes", anchors.max_sizes or (0.0,) * m, m)]
    more = [
        tuple((small, large or None) for small, large in pairs)
        for pairs in _per_map("more_sizes", anchors.more_sizes or ((),) * m, m)
    ]
    maps = tuple(
        AnchorMap(size, *sizes, values, step, more_sizes=further)
        for size, *sizes, values, step, further in zip(
            map_sizes, low, high, ratios, steps, more, strict=True
        )
    )
    return AnchorSpec(image_size, maps, clip=anchors.clip, whole_pixels=anchors.whole_pixels)


def experiment_spec(experiment: config.Experiment) -> AnchorSpec:
    """Returns the anchors of a config's detector without building it; classes play no part.

    Raises:
      ValueError: where fields contradict each other, naming them.
    """
    model = experiment.model
    sizes = network.map_sizes(network.source_maps(model), model.image_size)
    return anchor_spec(experiment.anchors, model.image_size, sizes)


def boxes_per_cell(anchors: config.Anchors, num_maps: int) -> tuple[int, ...]:
    """Returns the number of anchors in a cell of each source, which the heads are made for."""
    if anchors.preset:
        spec = preset(anchors.preset)
        if len(spec.maps) != num_maps:
            raise ValueError(
                f"config.anchors.preset: {anchors.preset!r} is for an input of {spec.image_size} "
                f"and {len(spec.maps)} maps, but this network has {num_maps} sources and extras; "
                "set config.anchors.preset to '' and give sizes or scales"
            )
        return spec.per_cell
    # The numbers do not depend on the sizes of the maps.
    return anchor_spec(anchors, (1000, 1000), [(1, 1)] * num_maps).per_cell


def _per_map(name: str, values: Sequence, num_maps: int) -> Sequence:
    if len(values) != num_maps:
        raise ValueError(
            f"config.anchors.{name}: expected one value for each of the {num_maps} sources and "
            f"extras, got {len(values)}: {values}"
        )
    return values
