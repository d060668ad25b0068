"""The rules that a config can choose its default boxes by.

A rule has `spec(image_size, map_sizes)`, the anchors for the maps of a network, and
`per_cell(num_maps)`, the number of anchors in a cell of each, which the heads are made for.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from ssd_jax.ops.anchors import (
    AnchorMap,
    AnchorSpec,
    both_orientations,
    linear_scales,
    preset,
)
from ssd_jax.registry import Registry

MapSizes = Sequence[tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class LinearScales:
    """The paper's rule (SSD, section 2.2): scales that rise evenly from map to map.

    Attributes:
        s_min: the scale of the first map that the rule covers, of the image's shorter side.
        s_max: the scale of the last map.
        first_scale: a scale of its own for the first map, before s_min; the paper has .1.
        ratios: width over height of each map's other boxes, without 1; inverses are added.
        steps: pixels between the cells of each map; () means image size over map size.
        whole_pixels: drop the fractions of sizes, as the released code does.
        clip: what of an anchor is kept in the image; see `ops.anchors.AnchorSpec`.
    """

    s_min: float = 0.2
    s_max: float = 0.9
    first_scale: float | None = None
    ratios: tuple[tuple[float, ...], ...] = ()
    steps: tuple[float, ...] = ()
    whole_pixels: bool = False
    clip: str = ""

    def spec(self, image_size: tuple[int, int], map_sizes: MapSizes) -> AnchorSpec:
        """Returns the anchors of a network.

        Args:
            image_size: height, width of the network's input, pixels.
            map_sizes: rows, columns of each map.

        Raises:
            ValueError: where a field has another length than there are maps.
        """
        m = len(map_sizes)
        scales = linear_scales(m, s_min=self.s_min, s_max=self.s_max, first=self.first_scale)
        return AnchorSpec.from_scales(
            image_size,
            map_sizes,
            scales,
            _ratios(self, m),
            steps=_steps(self, m),
            clip=self.clip,
            whole_pixels=self.whole_pixels,
        )

    def per_cell(self, num_maps: int) -> tuple[int, ...]:
        """Returns the number of anchors in a cell of each map."""
        return _per_cell(self, num_maps)


@dataclasses.dataclass(frozen=True)
class ExplicitSizes:
    """Sizes in pixels, map by map.

    Attributes:
        min_sizes: the side of each map's first square, pixels.
        max_sizes: with min_sizes, each map's second square; 0 means none, () none at all.
        more_sizes: further (min, max) pairs on each map, with its ratios; a max of 0 means no
            second square.
        ratios: as in `LinearScales`.
        steps: as in `LinearScales`.
        whole_pixels: as in `LinearScales`.
        clip: as in `LinearScales`.
    """

    min_sizes: tuple[float, ...] = ()
    max_sizes: tuple[float, ...] = ()
    more_sizes: tuple[tuple[tuple[float, float], ...], ...] = ()
    ratios: tuple[tuple[float, ...], ...] = ()
    steps: tuple[float, ...] = ()
    whole_pixels: bool = False
    clip: str = ""

    def spec(self, image_size: tuple[int, int], map_sizes: MapSizes) -> AnchorSpec:
        """Returns the anchors of a network; see `LinearScales.spec`."""
        m = len(map_sizes)
        low = _per_map(self, "min_sizes", self.min_sizes, m)
        # 0 stands for "no second square" in a list of numbers.
        high = [x or None for x in _per_map(self, "max_sizes", self.max_sizes or (0.0,) * m, m)]
        more = [
            tuple((small, large or None) for small, large in pairs)
            for pairs in _per_map(self, "more_sizes", self.more_sizes or ((),) * m, m)
        ]
        each = zip(map_sizes, low, high, _ratios(self, m), _steps(self, m), more, strict=True)
        maps = tuple(
            AnchorMap(size, *sizes, ratios, step, more_sizes=further)
            for size, *sizes, ratios, step, further in each
        )
        return AnchorSpec(image_size, maps, clip=self.clip, whole_pixels=self.whole_pixels)

    def per_cell(self, num_maps: int) -> tuple[int, ...]:
        """Returns the number of anchors in a cell of each map."""
        return _per_cell(self, num_maps)


@dataclasses.dataclass(frozen=True)
class Preset:
    """A published set.

    Attributes:
        preset: its name in `ops.anchors.PRESETS`.
        clip: as in `LinearScales`.
    """

    preset: str = "ssd300_voc"
    clip: str = ""

    def spec(self, image_size: tuple[int, int], map_sizes: MapSizes) -> AnchorSpec:
        """Returns the anchors of a network.

        Raises:
            ValueError: where the set was made for another network.
        """
        spec = preset(self.preset)
        made_for = tuple(entry.map_size for entry in spec.maps)
        if spec.image_size != tuple(image_size) or made_for != tuple(map_sizes):
            raise ValueError(
                f"config.anchors.preset: {self.preset!r} is for an input of {spec.image_size} and "
                f"maps {made_for}, but this network has {image_size} and {tuple(map_sizes)}; "
                "choose another rule with config.anchors=linear or config.anchors=sizes"
            )
        return dataclasses.replace(spec, clip=self.clip)

    def per_cell(self, num_maps: int) -> tuple[int, ...]:
        """Returns the number of anchors in a cell of each map.

        Raises:
            ValueError: where the set was made for another number of maps.
        """
        spec = preset(self.preset)
        if len(spec.maps) != num_maps:
            raise ValueError(
                f"config.anchors.preset: {self.preset!r} is for {len(spec.maps)} maps, but this "
                f"network has {num_maps}; choose another rule with config.anchors=linear or "
                "config.anchors=sizes"
            )
        return spec.per_cell


ANCHOR_RULES = Registry(
    "rule for anchors", {"linear": LinearScales, "sizes": ExplicitSizes, "preset": Preset}
)


def _per_cell(rule: Any, num_maps: int) -> tuple[int, ...]:
    # The numbers do not depend on the sizes of the maps.
    return rule.spec((1000, 1000), [(1, 1)] * num_maps).per_cell


def _ratios(rule: Any, num_maps: int) -> list[tuple[float, ...]]:
    return [both_orientations(*each) for each in _per_map(rule, "ratios", rule.ratios, num_maps)]


def _steps(rule: Any, num_maps: int) -> list[tuple[float, float] | None]:
    if not rule.steps:
        return [None] * num_maps
    return [(step, step) for step in _per_map(rule, "steps", rule.steps, num_maps)]


def _per_map(rule: Any, field: str, values: Sequence, num_maps: int) -> Sequence:
    if len(values) != num_maps:
        raise ValueError(
            f"config.anchors.{field}: expected one value for each of the {num_maps} maps, got "
            f"{len(values)}: {values}"
        )
    return values
