"""Reading pictures of any kind as right-way-up RGB, and placing them on a fixed canvas.

Nothing here knows about boxes, and nothing resizes a picture that fits its canvas: whatever
happens to pixels in training happens on the device.
"""

import io
import math
import os
import pathlib

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

# What Pillow and its plugins raise on a file that is not the picture it claims to be.
_BROKEN_FILE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)

_SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")

# Orientations that exchange width and height: the transposes and the quarter turns.
SWAPPING_ORIENTATIONS = (5, 6, 7, 8)


def decode(
    source: bytes | str | os.PathLike, *, canvas_size: tuple[int, int] | None = None
) -> np.ndarray:
    """Reads a picture as the RGB that a viewer would show.

    Greyscale and palettes become RGB, CMYK is converted, 16-bit values are scaled by their full
    range (65535 becomes 255), transparency is laid over white, and the EXIF orientation is
    applied. Of an animation the first frame is read.

    Args:
        source: an encoded picture, or the path of one.
        canvas_size: rows and columns of the canvas that the picture is for. A JPEG larger than
            that is read at 1/2, 1/4 or 1/8 of its size, never smaller than `place` will make it;
            much faster for photographs.

    Returns:
        uint8[H, W, 3].

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where the picture cannot be read, with its path and the reason.
    """
    try:
        with _open(source) as image:
            if canvas_size is not None:
                _read_reduced(image, canvas_size)
            upright = ImageOps.exif_transpose(image)
            return np.array(_to_rgb(upright))
    except FileNotFoundError:
        raise
    except _BROKEN_FILE as error:
        raise ValueError(
            f"images.decode: cannot read {_describe(source)}: {_reason(error)}"
        ) from error


def is_picture_name(path: pathlib.PurePath) -> bool:
    """Whether a file's suffix is one of a picture; for picking pictures out of a folder."""
    return path.suffix.lower() in Image.registered_extensions()


def upright_size(source: bytes | str | os.PathLike) -> tuple[int, int]:
    """Reads height and width, in pixels and after the EXIF rotation, from the header alone."""
    try:
        with _open(source) as image:
            if image.format == "TIFF":  # Pillow turns a TIFF itself, some versions while loading
                image.load()
            width, height = image.size
            swapped = orientation(image) in SWAPPING_ORIENTATIONS
            return (width, height) if swapped else (height, width)
    except FileNotFoundError:
        raise
    except _BROKEN_FILE as error:
        raise ValueError(
            f"images.upright_size: cannot read {_describe(source)}: {_reason(error)}"
        ) from error


def orientation(source: bytes | str | os.PathLike | Image.Image) -> int:
    """Reads the EXIF orientation, 1 (upright) to 8, that `decode` undoes."""
    if not isinstance(source, Image.Image):
        with _open(source) as image:
            return orientation(image)
    if source.format == "TIFF":
        return 1
    value = source.getexif().get(ExifTags.Base.Orientation, 1)
    return value if value in range(1, 9) else 1


def place(image: np.ndarray, canvas: np.ndarray) -> tuple[int, int]:
    """Copies a picture, untouched, into the upper left of a canvas.

    A picture larger than the canvas is first scaled down to fit, antialiased, its aspect kept.

    Args:
        image: uint8[h, w, 3].
        canvas: uint8[H, W, 3], written to.

    Returns:
        Height and width, in pixels, that the picture has on the canvas.
    """
    height, width = image.shape[:2]
    rows, columns = canvas.shape[:2]
    if height > rows or width > columns:
        scale = min(rows / height, columns / width)
        height, width = (max(1, round(length * scale)) for length in (height, width))
        resized = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
        image = np.asarray(resized)
    canvas[:height, :width] = image
    return height, width


def _open(source: bytes | str | os.PathLike) -> Image.Image:
    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)


def _read_reduced(image: Image.Image, canvas_size: tuple[int, int]) -> None:
    swapped = orientation(image) in SWAPPING_ORIENTATIONS
    rows, columns = canvas_size[::-1] if swapped else canvas_size
    scale = min(rows / image.height, columns / image.width)
    if scale < 1:  # only JPEG files do anything here
        image.draft(image.mode, (math.ceil(image.width * scale), math.ceil(image.height * scale)))


def _reason(error: Exception) -> str:
    return "not a picture" if isinstance(error, UnidentifiedImageError) else str(error)


def _describe(source: bytes | str | os.PathLike) -> str:
    return f"{len(source)} bytes" if isinstance(source, bytes) else str(source)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BIT_MODES:
        return _sixteen_bit_to_rgb(image)
    if image.mode == "F":
        raise ValueError("expected 8 or 16 bits a channel, got floating-point pixels")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _sixteen_bit_to_rgb(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise ValueError(f"expected 16-bit pixels in 0..65535, got {values.min()}..{values.max()}")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
