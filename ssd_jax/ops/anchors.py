"""Default boxes: their description, the published sets, and the arrays they make.

Everything here is numpy and static: a spec is hashable, and its anchors are constants of a program.
"""

import dataclasses
import difflib
import math
import types
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

Number = int | float

# Of normalised corners in float32.
_ROUNDING = 1e-5

# What of an anchor is kept inside the image; see AnchorSpec.
CLIPPING = ("", "corners", "sides", "cxcywh")


@dataclasses.dataclass(frozen=True)
class AnchorMap:
    """The anchors of one feature map, the same set in every cell.

    A cell has, in this order: a square of `min_size`; where `max_size` is given, a square of
    sqrt(min_size * max_size); and for each ratio a box of min_size * sqrt(ratio) by
    min_size / sqrt(ratio). Then the same for each pair of `more_sizes`.

    Attributes:
        map_size: rows and columns of the feature map.
        min_size: pixels, > 0.
        max_size: pixels, > min_size; or None for no second square.
        ratios: width over height of the other boxes, each used as given; 1 is the square already.
        step: pixels between cells, (y, x); or None for the image size over the map size, the
            paper's centres (i + offset) / |f_k|.
        offset: where in its cell a centre lies, in cells.
        more_sizes: (min_size, max_size) of further scales on this map, with the same ratios, as a
            layer of the released Caffe code has them that is given several sizes.
    """

    map_size: tuple[int, int]
    min_size: Number
    max_size: Number | None = None
    ratios: tuple[Number, ...] = ()
    step: tuple[Number, Number] | None = None
    offset: Number = 0.5
    more_sizes: tuple[tuple[Number, Number | None], ...] = ()

    def __post_init__(self):
        """Refuses what no anchor can be made of."""
        _require_pair("AnchorMap", "map_size", self.map_size, whole=True)
        if self.step is not None:
            _require_pair("AnchorMap", "step", self.step)
        for low, high in self.sizes:
            if not 0 < low < math.inf:
                raise ValueError(f"anchors.AnchorMap: expected min_size > 0, got {low}")
            if high is not None and not low < high < math.inf:
                raise ValueError(
                    f"anchors.AnchorMap: expected max_size > min_size {low}, got {high}"
                )
        usable = all(0 < ratio < math.inf and ratio != 1 for ratio in self.ratios)
        if not (isinstance(self.ratios, tuple) and usable):
            raise ValueError(
                "anchors.AnchorMap: expected a tuple of ratios > 0 other than 1, which the square "
                f"is, got {self.ratios}"
            )

    @property
    def sizes(self) -> tuple[tuple[Number, Number | None], ...]:
        """(min_size, max_size) of every scale."""
        return ((self.min_size, self.max_size), *self.more_sizes)

    @property
    def per_cell(self) -> int:
        """Anchors in one cell."""
        return sum(1 + (high is not None) + len(self.ratios) for _, high in self.sizes)

    @property
    def num_anchors(self) -> int:
        """Anchors on the whole map."""
        return self.map_size[0] * self.map_size[1] * self.per_cell


@dataclasses.dataclass(frozen=True)
class AnchorSpec:
    """The anchors of a detector.

    Attributes:
        image_size: height and width of the network's input, pixels. It need not be square: sizes
            and steps are pixels on both axes, so a ratio of 1 is square on the image.
        maps: one entry for each source, in the order of the heads.
        clip: one of CLIPPING. "corners" moves those outside the image to its border (Caffe);
            "sides" shortens sides that are longer than the image's, about the same centre
            (torchvision); "cxcywh" moves centres outside to the border, too (ssd.pytorch).
        whole_pixels: drop the fractions of min_size and max_size before use, as the released Caffe
            layer does with both (35.84 -> 35).
    """

    image_size: tuple[int, int]
    maps: tuple[AnchorMap, ...]
    clip: str = ""
    whole_pixels: bool = False

    def __post_init__(self):
        """Refuses what no set of anchors can be made of."""
        _require_pair("AnchorSpec", "image_size", self.image_size, whole=True)
        if not (isinstance(self.maps, tuple) and self.maps):
            raise ValueError(
                f"anchors.AnchorSpec: expected a tuple of at least one map, got {self.maps}"
            )
        if self.clip not in CLIPPING:
            raise ValueError(
                f"anchors.AnchorSpec: expected clip to be one of {CLIPPING}, got {self.clip!r}"
            )
        if self.whole_pixels and min(x for entry in self.maps for x, _ in entry.sizes) < 1:
            raise ValueError(
                "anchors.AnchorSpec: expected min_size >= 1 where whole_pixels is set, got "
                f"{[low for entry in self.maps for low, _ in entry.sizes]}"
            )

    @classmethod
    def from_scales(
        cls,
        image_size: tuple[int, int],
        map_sizes: Sequence[tuple[int, int]],
        scales: Sequence[float],
        ratios: Sequence[Sequence[Number]],
        *,
        steps: Sequence[tuple[Number, Number] | None] | None = None,
        offset: Number = 0.5,
        clip: str = "",
        whole_pixels: bool = False,
    ) -> "AnchorSpec":
        """Builds a spec from scales relative to the image, as `linear_scales` gives them.

        Args:
            image_size: height and width, pixels. Scales are fractions of the shorter side.
            map_sizes: rows and columns of each map.
            scales: one for each map, rising, and one more, which is the max size of the last map;
                the max size of the others is the next one's min size.
            ratios: the ratios of each map; see `both_orientations`.
            steps: pixels between the cells of each map, (y, x); by default as None in AnchorMap.
            offset: as in AnchorMap.
            clip: as in AnchorSpec.
            whole_pixels: as in AnchorSpec.

        Raises:
            ValueError: the lists are not as long as they should be, or a size is out of order.
        """
        m = len(map_sizes)
        steps = [None] * m if steps is None else steps
        if len(scales) != m + 1 or len(ratios) != m or len(steps) != m:
            raise ValueError(
                f"anchors.AnchorSpec.from_scales: expected {m + 1} scales, {m} ratios and {m} "
                f"steps for {m} maps, got {len(scales)}, {len(ratios)} and {len(steps)}"
            )
        sizes = [scale * min(image_size) for scale in scales]
        maps = tuple(
            AnchorMap(tuple(map_size), low, high, tuple(map_ratios), step, offset)
            for map_size, low, high, map_ratios, step in zip(
                map_sizes, sizes[:-1], sizes[1:], ratios, steps, strict=True
            )
        )
        return cls(tuple(image_size), maps, clip, whole_pixels)

    @property
    def per_cell(self) -> tuple[int, ...]:
        """Anchors in one cell of each map, which a head multiplies its channels by."""
        return tuple(entry.per_cell for entry in self.maps)

    @property
    def per_map(self) -> tuple[int, ...]:
        """Anchors on each map."""
        return tuple(entry.num_anchors for entry in self.maps)

    @property
    def num_anchors(self) -> int:
        """Anchors of the detector, A."""
        return sum(self.per_map)


def generate(spec: AnchorSpec) -> Float[np.ndarray, "A 4"]:
    """Returns the anchors of a spec.

    Args:
        spec: what to make.

    Returns:
        (centre x, centre y, width, height), normalised by the image size, float32, [A, 4]: map by
        map, row by row, column by column, and within a cell in the order of AnchorMap.

    >>> generate(preset("ssd300_voc")).shape
    (8732, 4)
    """
    height, width = spec.image_size
    anchors = np.concatenate([_generate_map(entry, spec) for entry in spec.maps])
    anchors /= [width, height, width, height]
    if spec.clip == "cxcywh":
        anchors = np.minimum(anchors, 1)
    elif spec.clip == "sides":
        anchors[:, 2:] = np.minimum(anchors[:, 2:], 1)
    elif spec.clip == "corners":
        low = np.clip(anchors[:, :2] - anchors[:, 2:] / 2, 0, 1)
        high = np.clip(anchors[:, :2] + anchors[:, 2:] / 2, 0, 1)
        anchors = np.concatenate([(low + high) / 2, high - low], axis=1)
    return anchors.astype(np.float32)


def _generate_map(entry: AnchorMap, spec: AnchorSpec) -> Float[np.ndarray, "A 4"]:
    """Returns the anchors of one map in pixels, float64."""
    roots = np.sqrt(np.array(entry.ratios, np.float64))
    widths, heights = [], []
    for low, high in entry.sizes:
        if spec.whole_pixels:
            # By way of float32, as Caffe reads them: a product such as .29 * 100 = 28.999... is 29.
            low, high = (size if size is None else int(np.float32(size)) for size in (low, high))
        squares = [low] if high is None else [low, math.sqrt(low * high)]
        widths += [*squares, *(low * roots)]
        heights += [*squares, *(low / roots)]

    rows, columns = entry.map_size
    step_y, step_x = entry.step or (spec.image_size[0] / rows, spec.image_size[1] / columns)
    anchors = np.empty((rows, columns, entry.per_cell, 4))
    anchors[..., 0] = (np.arange(columns)[:, None] + entry.offset) * step_x
    anchors[..., 1] = (np.arange(rows)[:, None, None] + entry.offset) * step_y
    anchors[..., 2] = widths
    anchors[..., 3] = heights
    return anchors.reshape(-1, 4)


def crossing(anchors_cxcywh: Float[np.ndarray, "A 4"]) -> Bool[np.ndarray, " A"]:
    """Returns which anchors reach over the border of the image, by more than rounding.

    >>> crossing(np.array([[0.5, 0.5, 0.5, 0.5], [0.1, 0.5, 0.5, 0.5]])).tolist()
    [False, True]
    """
    low = anchors_cxcywh[:, :2] - anchors_cxcywh[:, 2:] / 2
    high = anchors_cxcywh[:, :2] + anchors_cxcywh[:, 2:] / 2
    return (low < -_ROUNDING).any(axis=1) | (high > 1 + _ROUNDING).any(axis=1)


def linear_scales(
    num_maps: int, *, s_min: float = 0.2, s_max: float = 0.9, first: float | None = None
) -> tuple[float, ...]:
    """Returns the scales of the SSD paper's section 2.2, evenly spaced from s_min to s_max.

    s_k = s_min + (s_max - s_min) (k - 1) / (m - 1), k in 1 .. m; with a single map, s_min.

    The paper does not say with which scale the last map's second square, sqrt(s_m s_{m+1}), is
    made. The rule is continued by one step, as in the released code: .9 + .14 = 1.04 for six maps.

    Args:
        num_maps: how many maps, the first included.
        s_min: the scale of the first map that the rule covers, > 0.
        s_max: the scale of the last map, > s_min.
        first: a scale below s_min for the first map; the rule then covers the others. The paper
            sets .1 for conv4_3.

    Returns:
        `num_maps` + 1 scales, as `AnchorSpec.from_scales` takes them.

    Raises:
        ValueError: too few maps, or scales that do not rise from above 0.

    >>> [round(scale, 2) for scale in linear_scales(6)]
    [0.2, 0.34, 0.48, 0.62, 0.76, 0.9, 1.04]
    """
    m = num_maps - (first is not None)
    if m < 1:
        raise ValueError(
            f"anchors.linear_scales: expected at least {1 + (first is not None)} maps, "
            f"got {num_maps}"
        )
    if not 0 < s_min < s_max < math.inf:
        raise ValueError(
            f"anchors.linear_scales: expected 0 < s_min < s_max, got {s_min} and {s_max}"
        )
    if first is not None and not 0 < first < s_min:
        raise ValueError(f"anchors.linear_scales: expected 0 < first < s_min {s_min}, got {first}")
    spread = [s_min + (s_max - s_min) * k / max(m - 1, 1) for k in range(m + 1)]
    return tuple(spread if first is None else [first, *spread])


def both_orientations(*ratios: Number) -> tuple[float, ...]:
    """Returns every ratio followed by its inverse: (2, 3) becomes (2, 1/2, 3, 1/3).

    >>> both_orientations(2, 4)
    (2.0, 0.5, 4.0, 0.25)
    """
    if not all(ratio > 0 for ratio in ratios):
        raise ValueError(f"anchors.both_orientations: expected ratios > 0, got {ratios}")
    return tuple(value for ratio in ratios for value in (float(ratio), 1 / ratio))


def preset(name: str) -> AnchorSpec:
    """Returns one of PRESETS by name.

    Raises:
        ValueError: there is none of that name; the message has the nearest.

    >>> preset("ssd512_coco").num_anchors
    24564
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0)[0]
        raise ValueError(
            f"anchors.preset: expected one of {sorted(PRESETS)}, got {name!r}; nearest is {near!r}"
        )
    return PRESETS[name]


def _require_pair(owner: str, field: str, value: object, *, whole: bool = False) -> None:
    kind = int if whole else Number
    is_pair = isinstance(value, tuple) and len(value) == 2
    if not is_pair or not all(isinstance(x, kind) and 0 < x < math.inf for x in value):
        raise ValueError(
            f"anchors.{owner}: expected {field} to be a tuple (y, x) of two {'whole ' * whole}"
            f"numbers > 0, got {value}"
        )


def _released(
    side: int, map_sides: Sequence[int], steps: Sequence[int], sizes: Sequence[Number]
) -> AnchorSpec:
    """Returns a set of the released SSD code: square maps, fixed steps, whole pixels.

    `sizes` are the min sizes and the max size of the last map. The first map and the last two have
    the ratio 2, the others 2 and 3.
    """
    last = len(map_sides) - 1
    maps = tuple(
        AnchorMap(
            map_size=(map_side, map_side),
            min_size=sizes[k],
            max_size=sizes[k + 1],
            ratios=both_orientations(2, 3) if 1 <= k <= last - 2 else both_orientations(2),
            step=(steps[k], steps[k]),
        )
        for k, map_side in enumerate(map_sides)
    )
    return AnchorSpec((side, side), maps, whole_pixels=True)


_MAPS_300 = (300, (38, 19, 10, 5, 3, 1), (8, 16, 32, 64, 100, 300))
_MAPS_512 = (512, (64, 32, 16, 8, 4, 2, 1), (8, 16, 32, 64, 128, 256, 512))

# The sets of the released SSD models; those for COCO have smaller boxes.
PRESETS = types.MappingProxyType(
    {
        "ssd300_voc": _released(*_MAPS_300, (30, 60, 111, 162, 213, 264, 315)),
        "ssd300_coco": _released(*_MAPS_300, (21, 45, 99, 153, 207, 261, 315)),
        "ssd512_voc": _released(*_MAPS_512, (35.84, 76.8, 153.6, 230.4, 307.2, 384, 460.8, 537.6)),
        "ssd512_coco": _released(
            *_MAPS_512, (20.48, 51.2, 133.12, 215.04, 296.96, 378.88, 460.8, 542.72)
        ),
    }
)
