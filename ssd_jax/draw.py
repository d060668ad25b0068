"""Boxes on pictures: detections, ground truth, and sheets of many pictures.

Everything scales with the picture, and is drawn with a dark edge, so that it is read on any
background. The font is the one that Pillow carries; nothing needs to be installed.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]
Rectangle = tuple[float, float, float, float]

_EDGE = (20, 20, 20)
_PAPER = (250, 250, 250)
_NUM_COLORS = 96


def draw_detections(
    image: np.ndarray | Image.Image,
    boxes_xyxy: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray | None,
    class_names: Sequence[str],
    *,
    font_path: str | None = None,
) -> Image.Image:
    """Returns a copy of a picture with a coloured box, a name and a score for each detection.

    Args:
      image: uint8[H, W, 3] or a PIL image.
      boxes_xyxy: float[n, 4], pixels of the picture; what lies outside is not drawn.
      labels: int[n], 1 .. C-1.
      scores: float[n], or None to write the names alone.
      class_names: of labels 1 .. C-1.
      font_path: a TrueType font, for class names in a script that Pillow's own font lacks.
    """
    names = _names(labels, class_names)
    if scores is not None:
        names = [f"{name} {score:.2f}" for name, score in zip(names, scores, strict=True)]
    colors = [class_color(int(label)) for label in labels]
    # The best detection is drawn last, on top, but is the first to choose a place for its name.
    order = range(len(names)) if scores is None else np.argsort(-np.asarray(scores), kind="stable")
    return _draw(image, boxes_xyxy, names, colors, order, dashed=False, font_path=font_path)


def draw_ground_truth(
    image: np.ndarray | Image.Image,
    boxes_xyxy: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    *,
    font_path: str | None = None,
) -> Image.Image:
    """Returns a copy of a picture with a dashed white box and a name for each annotated object.

    Args:
      image: uint8[H, W, 3] or a PIL image; to see both, draw this first and detections over it.
      boxes_xyxy: float[n, 4], pixels of the picture; what lies outside is not drawn.
      labels: int[n], 1 .. C-1.
      class_names: of labels 1 .. C-1.
      font_path: see `draw_detections`.
    """
    names = _names(labels, class_names)
    colors = [_PAPER] * len(names)
    order = range(len(names))
    return _draw(image, boxes_xyxy, names, colors, order, dashed=True, font_path=font_path)


def contact_sheet(
    images: Sequence[np.ndarray | Image.Image],
    columns: int,
    *,
    tile: int = 400,
    gap: int = 8,
) -> Image.Image:
    """Returns one picture of many, in rows, each fitted into a square and centred in it.

    Args:
      images: at least one, uint8[H, W, 3] or PIL images.
      columns: pictures in a row.
      tile: side of the squares in pixels; larger pictures are reduced, smaller ones stay.
      gap: pixels between and around the squares.
    """
    if not images or columns < 1:
        raise ValueError(
            f"draw.contact_sheet: expected at least one picture and one column, got {len(images)} "
            f"and {columns}"
        )
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    size = (gap + columns * (tile + gap), gap + rows * (tile + gap))
    sheet = Image.new("RGB", size, (48, 48, 48))
    for i, image in enumerate(images):
        picture = _picture(image)
        picture.thumbnail((tile, tile), Image.Resampling.LANCZOS)
        left = gap + (i % columns) * (tile + gap) + (tile - picture.width) // 2
        top = gap + (i // columns) * (tile + gap) + (tile - picture.height) // 2
        sheet.paste(picture, (left, top))
    return sheet


def class_color(label: int) -> Color:
    """Returns the colour of a class: always the same for a label, far from those before it."""
    return _palette()[(label - 1) % _NUM_COLORS]


def _draw(
    image: np.ndarray | Image.Image,
    boxes_xyxy: np.ndarray,
    names: Sequence[str],
    colors: Sequence[Color],
    order: Sequence[int],
    *,
    dashed: bool,
    font_path: str | None,
) -> Image.Image:
    """Draws boxes, then their names; `order` is from the most to the least important."""
    picture = _picture(image)
    boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    if len(boxes) != len(names) or not np.isfinite(boxes).all():
        raise ValueError(
            f"draw: expected a finite box for each of {len(names)} labels, got {boxes.tolist()}"
        )
    scale = math.sqrt(picture.width * picture.height)
    line = max(2, round(scale / 220)) if scale >= 250 else 1
    font = _font(max(10, round(scale / 30)), font_path)
    draw = ImageDraw.Draw(picture)

    inside = {}
    for i in order:
        x0, y0, x1, y1 = boxes[i].round()
        if x0 < picture.width and y0 < picture.height and x1 > 0 and y1 > 0:
            # A box is at least one line wide, and one that leaves the picture ends at its border.
            x1, y1 = max(x1, x0 + line), max(y1, y0 + line)
            inside[i] = (max(x0, 0), max(y0, 0), min(x1, picture.width), min(y1, picture.height))
    for i in reversed(inside):
        _outline(draw, inside[i], colors[i], line, dashed=dashed)

    places: dict[int, Rectangle] = {}
    for i in inside:
        size = _text_size(draw, names[i], font, line)
        places[i] = _free_place(inside[i], size, list(places.values()), picture.size, low=dashed)
    for i in reversed(places):
        _tag(draw, places[i], names[i], colors[i], font, line)
    return picture
