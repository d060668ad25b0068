"""Boxes on pictures: detections, ground truth, and sheets of many pictures.

Everything scales with the picture, and has a dark edge, so that it stands out on any background.
The font is the one that Pillow carries; nothing needs to be installed.
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
_SHEET = (48, 48, 48)
_NUM_COLORS = 96


def draw_detections(
    image: np.ndarray | Image.Image,
    boxes_xyxy: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray | None,
    class_names: Sequence[str],
) -> Image.Image:
    """Returns a copy of a picture with a coloured box, a name and a score for each detection.

    Args:
        image: uint8[H, W, 3] or a PIL image.
        boxes_xyxy: float[n, 4], pixels of the picture; the part of a box outside is not drawn.
        labels: int[n], 1 .. C-1.
        scores: float[n], or None to write the names alone.
        class_names: of labels 1 .. C-1.
    """
    names = _names(labels, class_names)
    if scores is not None:
        names = [f"{name} {score:.2f}" for name, score in zip(names, scores, strict=True)]
    colors = [class_color(int(label)) for label in labels]
    # The best detection is drawn last, on top, but is the first to choose a place for its name.
    order = range(len(names)) if scores is None else np.argsort(-np.asarray(scores), kind="stable")
    return _draw(image, boxes_xyxy, names, colors, order, dashed=False)


def draw_ground_truth(
    image: np.ndarray | Image.Image,
    boxes_xyxy: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
) -> Image.Image:
    """Returns a copy of a picture with a dashed white box and a name for each annotated object.

    Arguments are those of `draw_detections`. To see both, draw this first and detections over it.
    """
    names = _names(labels, class_names)
    colors = [_PAPER] * len(names)
    return _draw(image, boxes_xyxy, names, colors, range(len(names)), dashed=True)


def draw_anchors(
    image: np.ndarray | Image.Image, boxes_xyxy: np.ndarray, labels: np.ndarray
) -> Image.Image:
    """Returns a copy of a picture with a thin box for each anchor, in its class's colour.

    Arguments are those of `draw_detections`; the labels are the matched objects'.
    """
    picture = _picture(image)
    canvas = ImageDraw.Draw(picture)
    for (x0, y0, x1, y1), label in zip(np.asarray(boxes_xyxy), labels, strict=True):
        canvas.rectangle((x0, y0, x1 - 1, y1 - 1), outline=class_color(int(label)))
    return picture


def contact_sheet(
    images: Sequence[np.ndarray | Image.Image], columns: int, *, tile: int = 400, gap: int = 8
) -> Image.Image:
    """Returns one picture of many, in rows of equal cells, each centred in its cell.

    Args:
        images: at least one, uint8[H, W, 3] or PIL images.
        columns: pictures in a row.
        tile: the longest side a picture keeps, in pixels; smaller ones stay as they are.
        gap: pixels between and around the pictures.
    """
    if not images or columns < 1:
        raise ValueError(
            f"draw.contact_sheet: expected at least one picture and one column, got {len(images)} "
            f"and {columns}"
        )
    pictures = [_picture(image) for image in images]
    for picture in pictures:
        picture.thumbnail((tile, tile), Image.Resampling.LANCZOS)
    width = gap + max(picture.width for picture in pictures)
    height = gap + max(picture.height for picture in pictures)
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (gap + columns * width, gap + rows * height), _SHEET)
    for i, picture in enumerate(pictures):
        row, column = divmod(i, columns)
        left = gap + column * width + (width - gap - picture.width) // 2
        top = gap + row * height + (height - gap - picture.height) // 2
        sheet.paste(picture, (left, top))
    return sheet


def class_color(label: int) -> Color:
    """Returns the colour of a class, far from those of the labels before it."""
    return _palette()[(label - 1) % _NUM_COLORS]


def _draw(
    image: np.ndarray | Image.Image,
    boxes_xyxy: np.ndarray,
    names: Sequence[str],
    colors: Sequence[Color],
    order: Sequence[int],
    *,
    dashed: bool,
) -> Image.Image:
    """Draws boxes, then their names; `order` is from the most to the least important."""
    picture = _picture(image)
    boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    if len(boxes) != len(names) or not np.isfinite(boxes).all():
        raise ValueError(
            f"draw: expected a finite box for each of {len(names)} labels, got {boxes.tolist()}"
        )
    scale = math.sqrt(picture.width * picture.height)
    line = math.ceil(scale / 220)
    font = _font(max(10, round(scale / 30)))
    draw = ImageDraw.Draw(picture)

    width, height = picture.size
    inside = {}
    for i in order:
        x0, y0, x1, y1 = boxes[i]
        if x0 < width and y0 < height and x1 > 0 and y1 > 0:
            # A box that leaves the picture ends at its border; each is at least a pixel wide.
            x0, y0 = min(max(round(x0), 0), width - 1), min(max(round(y0), 0), height - 1)
            x1, y1 = max(round(x1), x0 + line), max(round(y1), y0 + line)
            inside[i] = (x0, y0, min(x1, width), min(y1, height))
    for i in reversed(inside):
        _outline(draw, inside[i], colors[i], line, dashed=dashed)

    padding = max(1, round(scale / 300))
    ascent, descent = font.getmetrics()
    texts, places = {}, {}
    for i in inside:
        texts[i] = _fitted(names[i], font, width - 4 * padding)
        length = math.ceil(font.getlength(texts[i]))
        size = (length + 4 * padding, ascent + descent + 2 * padding)
        places[i] = _free_place(inside[i], size, list(places.values()), picture.size, low=dashed)
    for i in reversed(places):
        _tag(draw, places[i], texts[i], colors[i], font, padding)
    return picture


def _picture(image: np.ndarray | Image.Image) -> Image.Image:
    """Returns a new RGB picture."""
    if isinstance(image, Image.Image):
        return image.convert("RGB") if image.mode != "RGB" else image.copy()
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"draw: expected uint8 [H, W, 3], got {image.dtype} {image.shape}")
    return Image.fromarray(image)


def _names(labels: np.ndarray, class_names: Sequence[str]) -> list[str]:
    """Returns the class name of each label, on one line."""
    labels = np.asarray(labels)
    if len(labels) and (labels.min() < 1 or labels.max() > len(class_names)):
        raise ValueError(
            f"draw: expected labels in 1 .. {len(class_names)} (0 is background), "
            f"got {labels.tolist()}"
        )
    return [" ".join(class_names[label - 1].split()) for label in labels]


@functools.lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def _outline(
    draw: ImageDraw.ImageDraw, box: Rectangle, color: Color, line: int, *, dashed: bool
) -> None:
    """Draws a box with dark edges; dashes leave the dark of the edge between them."""
    x0, y0, x1, y1 = box[0], box[1], box[2] - 1, box[3] - 1
    edge = max(1, line // 3)
    around = (x0 - edge, y0 - edge, x1 + edge, y1 + edge)
    draw.rectangle(around, outline=_EDGE, width=line + 2 * edge)
    if not dashed:
        draw.rectangle((x0, y0, x1, y1), outline=color, width=line)
        return
    dash = 4 * line + 2
    for left in range(x0, x1 + 1, 2 * dash):
        right = min(left + dash, x1)
        draw.rectangle((left, y0, right, min(y0 + line - 1, y1)), fill=color)
        draw.rectangle((left, max(y1 - line + 1, y0), right, y1), fill=color)
    for top in range(y0, y1 + 1, 2 * dash):
        bottom = min(top + dash, y1)
        draw.rectangle((x0, top, min(x0 + line - 1, x1), bottom), fill=color)
        draw.rectangle((max(x1 - line + 1, x0), top, x1, bottom), fill=color)


def _fitted(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Returns the text, cut at its end where it is wider than `width` pixels."""
    length = len(text)
    while length > 1 and font.getlength(text[:length]) > width:
        length -= 1
    return text[:length]


def _free_place(
    box: Rectangle,
    size: tuple[int, int],
    taken: Sequence[Rectangle],
    picture_size: tuple[int, int],
    *,
    low: bool,
) -> Rectangle:
    """Returns the first place at a box, inside the picture, that is free for a tag of a size.

    Where all are taken it returns the place that covers the least of other tags.
    """
    x0, y0, x1, y1 = box
    width, height = size
    above, top, bottom, below = y0 - height, y0, y1 - height, y1
    rows = (below, bottom, above, top) if low else (above, top, below, bottom)
    corners = np.array([(x, y) for y in rows for x in (x0, x1 - width)], np.float64)
    # A tag as large as the picture starts in its corner.
    corners = np.clip(corners, 0, np.maximum(np.subtract(picture_size, size), 0))
    places = np.concatenate([corners, corners + size], axis=1)
    others = np.array(taken, np.float64).reshape(-1, 4)
    sides = np.minimum(places[:, None, 2:], others[:, 2:])
    sides = sides - np.maximum(places[:, None, :2], others[:, :2])
    covered = np.prod(np.maximum(sides, 0), axis=2).sum(axis=1)
    return tuple(places[np.argmin(covered)].tolist())


def _tag(
    draw: ImageDraw.ImageDraw,
    place: Rectangle,
    text: str,
    color: Color,
    font: ImageFont.FreeTypeFont,
    padding: int,
) -> None:
    """Draws a filled tag with its text in black or white, whichever is easier to read on it."""
    x0, y0, x1, y1 = place
    draw.rectangle((x0, y0, x1 - 1, y1 - 1), fill=color, outline=_EDGE, width=max(1, padding // 3))
    ascent, _ = font.getmetrics()
    ink = (0, 0, 0) if _luminance(color) > 0.179 else (255, 255, 255)
    draw.text((x0 + 2 * padding, y0 + padding + ascent), text, fill=ink, font=font, anchor="ls")


def _linear(rgb: np.ndarray) -> np.ndarray:
    """Returns linear light in [0, 1] for sRGB values in 0 .. 255."""
    value = np.asarray(rgb, np.float64) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _luminance(color: Color) -> float:
    """Returns WCAG's relative luminance; above .179 black text has the greater contrast."""
    return float(_linear(np.array(color)) @ (0.2126, 0.7152, 0.0722))


@functools.cache
def _palette() -> list[Color]:
    """Returns colours by greedy choice: each is the one farthest from all that precede it.

    Distance is in OKLab, where it follows what the eye sees; candidates are neither so dark, so
    pale nor so grey that they would be lost in a photograph.
    """
    steps = np.arange(0, 256, 15)
    rgb = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    to_cones = [[0.4122, 0.5363, 0.0515], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
    from_cones = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    lab = np.cbrt(_linear(rgb) @ np.transpose(to_cones)) @ np.transpose(from_cones)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    usable = (lab[:, 0] > 0.55) & (lab[:, 0] < 0.9) & (chroma > 0.11)
    rgb, lab = rgb[usable], lab[usable]
    chosen = [int(np.argmin(np.abs(rgb - (255, 60, 60)).sum(axis=1)))]
    distance = np.full(len(rgb), np.inf)
    while len(chosen) < _NUM_COLORS:
        distance = np.minimum(distance, np.linalg.norm(lab - lab[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(distance)))
    return [tuple(int(v) for v in rgb[i]) for i in chosen]
