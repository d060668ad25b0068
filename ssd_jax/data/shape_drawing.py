"""Outlines, textures and backgrounds for the scenes of `shapes`.

Outlines are polygons of complex numbers (x + iy, y downwards) about the origin. No two of them
can be turned, mirrored or stretched into each other: a square is a rectangle and a circle an
ellipse, so each of those pairs is one class.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

_SUPERSAMPLING = 4
_BACKGROUND_CONTRAST = 0.6  # shapes stand out from the clutter by their full colours

# From random numbers and two coordinates in periods to the blend of two colours, 0 to 1.
Pattern = Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]


class Outline(NamedTuple):
    """The border of a shape, and of the hole in it where it has one."""

    border: np.ndarray  # complex128[n]
    hole: np.ndarray | None = None

    def transform(self, linear: np.ndarray, shift: complex = 0) -> "Outline":
        """Applies a 2 x 2 matrix to x and y, and then a shift."""
        return Outline(*(None if p is None else _linear(linear, p) + shift for p in self))


def _linear(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    x, y = matrix @ np.stack((points.real, points.imag))
    return x + 1j * y


def _arc(start: float, stop: float, points: int = 48) -> np.ndarray:
    return np.exp(1j * np.radians(np.linspace(start, stop, points)))


def _polygon(*corners: tuple[float, float]) -> np.ndarray:
    return np.array([complex(x, y) for x, y in corners])


def _crescent() -> np.ndarray:
    horn = np.exp(1j * np.radians(50))
    centre = 0.45  # of the circle that is cut away, through both horns
    angle = np.degrees(np.angle(horn - centre))
    inner = centre + np.abs(horn - centre) * _arc(360 - angle, angle)
    return np.concatenate((_arc(50, 310), inner))


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return (16 * np.sin(t) ** 3 - 1j * (y + 2.5)) / 16


_HALF_ARROW = _polygon((-1, -0.28), (0.1, -0.28), (0.1, -0.8), (1, 0))
_HALF_BOLT = _polygon((0.35, -1), (-0.65, 0.2), (-0.05, 0.2))
_CROSS_ARM = _polygon((1, -0.3), (1, 0.3), (0.3, 0.3))

OUTLINES = {
    "arrow": Outline(np.concatenate((_HALF_ARROW, _HALF_ARROW.conj()[::-1]))),
    "bolt": Outline(np.concatenate((_HALF_BOLT, -_HALF_BOLT))),
    "crescent": Outline(_crescent()),
    "cross": Outline(np.concatenate([_CROSS_ARM * 1j**turn for turn in range(4)])),
    "ellipse": Outline(_arc(0, 360)),
    "heart": Outline(_heart()),
    "rectangle": Outline(_polygon((-1, -1), (1, -1), (1, 1), (-1, 1))),
    "ring": Outline(_arc(0, 360), hole=0.58 * _arc(0, 360)),
    "star": Outline(_arc(0, 324, 10) * np.tile((1, 0.42), 5)),
    "triangle": Outline(_arc(0, 240, 3)),
}


def coverage(outline: Outline, size: tuple[int, int]) -> np.ndarray:
    """Returns the part of each pixel that an outline, in pixels, covers: float32[H, W]."""
    height, width = size
    mask = Image.new("L", (width * _SUPERSAMPLING, height * _SUPERSAMPLING))
    draw = ImageDraw.Draw(mask)
    for points, value in ((outline.border, 255), (outline.hole, 0)):
        if points is not None:
            fine = points * _SUPERSAMPLING
            draw.polygon(list(zip(fine.real, fine.imag, strict=True)), fill=value)
    return np.asarray(mask.reduce(_SUPERSAMPLING), np.float32) / 255


def random_colour(rng: np.random.Generator, *, vivid: bool) -> np.ndarray:
    """Returns a colour as float32[3] in 0..255; vivid ones are for objects."""
    saturation, value = rng.uniform((0.45, 0.45), (1, 1)) if vivid else rng.uniform(0.1, 0.75, 2)
    ramp = np.abs((rng.uniform(0, 6) + np.array((0, 4, 2))) % 6 - 3) - 1
    pure = np.clip(ramp, 0, 1)
    return (255 * value * (1 - saturation * (1 - pure))).astype(np.float32)


def texture(
    rng: np.random.Generator,
    size: tuple[int, int],
    first: np.ndarray,
    second: np.ndarray,
    *,
    patterns: Sequence[Pattern] | None = None,
) -> np.ndarray:
    """Returns two colours in a random pattern, float32[H, W, 3]; by default in any pattern."""
    patterns = _PATTERNS if patterns is None else patterns
    height, width = size
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, np.newaxis]
    angle = rng.uniform(0, 2 * np.pi)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    period = np.float32(rng.uniform(4, 4 + max(size) / 5))
    u, v = (x * cos + y * sin) / period, (y * cos - x * sin) / period
    blend = patterns[rng.integers(len(patterns))](rng, u, v)[..., np.newaxis]
    return first + (second - first) * blend


def background(rng: np.random.Generator, side: int) -> np.ndarray:
    """Returns a cluttered square background without any of the shapes, float32[side, side, 3]."""
    colours = [random_colour(rng, vivid=False) for _ in range(4)]
    # Not the patterns whose elements look like shapes.
    image = texture(rng, (side, side), colours[0], colours[1], patterns=_PATTERNS[:-2])
    image += _clouds(rng, (side, side))[..., np.newaxis] * (colours[2] - colours[0])
    canvas = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(canvas, "RGBA")
    for _ in range(rng.integers(0, 5)):  # soft-edged blobs without corners
        draw.polygon(_blob(rng, side), fill=_translucent(rng, 90))
    for _ in range(rng.integers(3, 14)):  # scratches and wires
        points = _wire(rng, side)
        draw.line(points, fill=_translucent(rng, 200), width=int(rng.integers(1, 4)), joint="curve")
    image = np.asarray(canvas, np.float32)
    mean = image.mean(axis=(0, 1))
    return mean + (image - mean) * _BACKGROUND_CONTRAST


def _translucent(rng: np.random.Generator, most: int) -> tuple[int, ...]:
    red, green, blue = random_colour(rng, vivid=False)
    return int(red), int(green), int(blue), int(rng.integers(40, most))


def _blob(rng: np.random.Generator, side: int) -> list[tuple[float, float]]:
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    waves = (
        rng.normal(0, 0.22, 4)
        / np.arange(1, 5)
        @ np.cos(np.outer(np.arange(2, 6), t) + rng.uniform(0, 2 * np.pi, (4, 1)))
    )
    centre, radius = rng.uniform(0, side, 2), rng.uniform(0.05, 0.25) * side
    x, y = centre[:, np.newaxis] + radius * (1 + waves) * np.stack((np.cos(t), np.sin(t)))
    return list(zip(x, y, strict=True))


def _wire(rng: np.random.Generator, side: int) -> list[tuple[float, float]]:
    steps = rng.integers(2, 12)
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.35, steps))
    path = np.cumsum(np.exp(1j * heading)) * rng.uniform(0.03, 0.12) * side
    path += complex(*rng.uniform(-0.1, 1, 2)) * side
    return list(zip(path.real, path.imag, strict=True))


def _clouds(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    cells = int(rng.integers(3, 10))
    coarse = Image.fromarray(rng.uniform(0, 1, (cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC))


_PATTERNS: tuple[Pattern, ...] = (
    lambda rng, u, v: np.zeros_like(u),  # plain
    lambda rng, u, v: (u - u.min()) / (np.ptp(u) + 1e-6),  # gradient
    lambda rng, u, v: (u % 1 > 0.5).astype(np.float32),  # stripes
    lambda rng, u, v: np.sin(2 * np.pi * u) * 0.5 + 0.5,  # waves
    lambda rng, u, v: _clouds(rng, u.shape),
    lambda rng, u, v: (np.floor(u) + np.floor(v)) % 2,  # checks
    lambda rng, u, v: (np.hypot(u % 1 - 0.5, v % 1 - 0.5) < 0.3).astype(np.float32),  # dots
)
