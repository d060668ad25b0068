"""The embedded data set: scenes of ten kinds of shapes on cluttered backgrounds.

Shapes differ in size (their longer side is uniform in the range), aspect, rotation, colour and
texture; they may overlap and leave the picture, but each keeps at least three quarters of its area
visible. A box is the tight bound of the shape's pixels in the picture, the covered ones included.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from ssd_jax.data import scenes, shape_drawing
from ssd_jax.data.examples import Example, Object, Problems
from ssd_jax.data.scenes import Scenes

_VISIBLE_PART = 0.75
_PLACEMENTS = 12  # tries for one shape before the scene is left with fewer
_MOST_STRETCH = 1.5
_MOST_TURN = np.radians(30)  # to either side
_MOST_TEXTURE = 0.35  # how far a shape's second colour is from its first
_OUTSIDE = 1 / 6  # of a shape's extent, at most, beyond a border of the picture
_LEAST_CONTRAST = 70.0  # between mean colours of a shape and of what it covers, in RGB
_NOISE = 7.0  # the most, as a standard deviation in 0..255
_JPEG_QUALITY = 92


@dataclasses.dataclass(kw_only=True)
class ShapeScenes(Scenes):
    """Scenes of shapes."""

    num_train: int = 4000
    num_val: int = 400
    image_size: int = 256
    object_size: tuple[float, float] = (1 / 10, 2 / 3)
    max_objects: int = 6

    class_names = tuple(shape_drawing.OUTLINES)
    category_ids = tuple(range(1, len(class_names) + 1))
    notes = ()

    def examples(self, split: str, problems: Problems) -> Iterator[Example]:
        """Yields the scenes of a split; there are never problems."""
        del problems
        for number in range(self.split_sizes[split]):
            yield self.scene(split, number)

    def scene(self, split: str, number: int) -> Example:
        """Draws one scene."""
        pixels, objects = self._draw(self.generator(split, number))
        return scenes.encoded(split, number, pixels, objects, jpeg_quality=_JPEG_QUALITY)

    def _draw(self, rng: np.random.Generator) -> tuple[np.ndarray, list[Object]]:
        """Returns a scene as uint8[H, W, 3], and its shapes from the lowest to the topmost."""
        side = self.image_size
        image = shape_drawing.background(rng, side)
        topmost = np.full((side, side), -1)  # which shape each pixel shows
        areas = []  # of the whole shapes, in pixels
        objects = []
        for _ in range(rng.integers(1, self.max_objects, endpoint=True)):
            label = int(rng.integers(len(self.class_names)))
            for _ in range(_PLACEMENTS):
                corner, mask = self._place(rng, label)
                window = _inside(corner, mask.shape, side)
                mask_window = mask[_relative(window, corner)]
                shown = topmost.copy()
                shown[window][mask_window >= 0.5] = len(objects)
                visible = np.bincount(shown[shown >= 0], minlength=len(objects) + 1)
                whole = np.array([*areas, np.count_nonzero(mask >= 0.5)])
                if (visible >= _VISIBLE_PART * whole).all():
                    break
            else:
                continue
            topmost, areas = shown, list(whole)
            image[window] = _paint(rng, image[window], mask_window)
            objects.append(_bounded(mask_window >= 0.5, window, label))
        image += rng.standard_normal((side, side, 1), np.float32) * rng.uniform(0, _NOISE)
        return np.clip(image, 0, 255).round().astype(np.uint8), objects

    def _place(self, rng: np.random.Generator, label: int) -> tuple[tuple[int, int], np.ndarray]:
        """Returns row and column of a random shape's patch, and the shape's coverage of it."""
        stretch = np.exp(rng.uniform(-1, 1) * np.log(_MOST_STRETCH) / 2)
        mirror = rng.choice((-1, 1))
        angle = rng.uniform(-_MOST_TURN, _MOST_TURN)
        rotation = np.array(((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))))
        outline = shape_drawing.OUTLINES[self.class_names[label]].transform(
            rotation @ np.diag((stretch * mirror, 1 / stretch))
        )
        border = np.stack((outline.border.real, outline.border.imag))
        extent = np.ptp(border, axis=1)
        scale = rng.uniform(*self.object_size) * self.image_size / max(extent)
        extent = extent * scale
        corner = rng.uniform(-extent * _OUTSIDE, self.image_size - extent * (1 - _OUTSIDE))
        column, row = np.floor(corner).astype(int).tolist()
        shift = complex(*(corner - (column, row) - scale * border.min(axis=1)))
        width, height = np.ceil(extent).astype(int) + 2
        placed = outline.transform(np.eye(2) * scale, shift)
        return (row, column), shape_drawing.coverage(placed, (height, width))


def _inside(corner: tuple[int, int], size: tuple[int, int], side: int) -> tuple[slice, slice]:
    """Returns the part of a patch that lies inside the picture."""
    return tuple(
        slice(max(start, 0), min(start + length, side))
        for start, length in zip(corner, size, strict=True)
    )


def _relative(window: tuple[slice, slice], corner: tuple[int, int]) -> tuple[slice, slice]:
    return tuple(
        slice(part.start - start, part.stop - start)
        for part, start in zip(window, corner, strict=True)
    )


def _paint(rng: np.random.Generator, under: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Lays a textured shape over a window of the picture, in colours that stand out from it."""
    alpha = mask[..., np.newaxis]
    covered = (under * alpha).sum(axis=(0, 1)) / alpha.sum()
    while True:
        first = shape_drawing.random_colour(rng, vivid=True)
        other = shape_drawing.random_colour(rng, vivid=True)
        second = first + (other - first) * rng.uniform(0, _MOST_TEXTURE)
        pattern = shape_drawing.texture(rng, mask.shape, first, second)
        mean = (pattern * alpha).sum(axis=(0, 1)) / alpha.sum()
        if np.linalg.norm(mean - covered) >= _LEAST_CONTRAST:
            return under + (pattern - under) * alpha


def _bounded(mask: np.ndarray, window: tuple[slice, slice], label: int) -> Object:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = window[0].start, window[1].start
    box = (left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1)
    return Object(box=np.array(box, np.float64), label=label, area=float(np.count_nonzero(mask)))
