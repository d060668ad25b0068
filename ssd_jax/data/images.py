"""Reading pictures of any kind as right-way-up RGB, and placing them on a fixed canvas.

Nothing here knows about boxes, and nothing resizes a picture that fits its canvas: whatever
happens to pixels in training happens on the device.

Whatever is wrong with a picture's file is a ValueError that names it. A file that promises more
pixels than `memory_limit` allows is refused by its header, before it is decoded.
"""

import contextlib
import contextvars
import io
import math
import os
import pathlib
import re
import threading
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from ssd_jax.data import plain_files

# The memory that a picture may take while it is decoded, unless `memory_limit` says otherwise: 134
# million pixels of a photograph.
DEFAULT_LIMIT_MIB = 2048

# Bytes that `decode` holds for each pixel at its peak (measured: 10 to 15.7, 17 to 24): the decoded
# picture, the upright one and the array; more copies of a picture that is converted.
_BYTES_PER_PIXEL = 16
_BYTES_PER_CONVERTED_PIXEL = 24
_WIDE_CODECS = ("JPEG2000", "WEBP")  # they decode into values of their own first

_SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")

# Orientations that exchange width and height: the transposes and the quarter turns.
SWAPPING_ORIENTATIONS = (5, 6, 7, 8)

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_limit_mib: contextvars.ContextVar[int | None] = contextvars.ContextVar(
    "picture memory", default=DEFAULT_LIMIT_MIB
)


@contextlib.contextmanager
def memory_limit(mib: int | None) -> Iterator[None]:
    """Sets the MiB that a picture may take in this block; None sets no limit, for trusted ones.

    A photograph takes 16 bytes for each of its pixels, a picture with transparency 24.
    """
    token = _limit_mib.set(mib)
    try:
        yield
    finally:
        _limit_mib.reset(token)


def decode(
    source: bytes | str | os.PathLike, *, canvas_size: tuple[int, int] | None = None
) -> np.ndarray:
    """Returns a picture as the RGB that a viewer would show, uint8[H, W, 3].

    Greyscale and palettes become RGB, CMYK is converted, 16-bit values are scaled by their full
    range (65535 becomes 255), transparency is laid over white, and the EXIF orientation is
    applied. Of a file with several pictures (GIF, APNG, MPO, TIFF, WebP) the first is read.

    Args:
        source: an encoded picture, or the path of one.
        canvas_size: rows and columns of the canvas that the picture is for. A JPEG larger than
            that is read at 1/2, 1/4 or 1/8 of its size, never smaller than `place` will make it;
            much faster for photographs.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where the picture cannot be read, or would take more memory than
            `memory_limit` allows; with its path and the reason.
    """
    with _opened("decode", source) as image:
        if canvas_size is not None and image.format in ("JPEG", "MPO"):
            _read_reduced(image, canvas_size)
        image.load()
        turn = _TURNS.get(_orientation(image))
        return np.array(_to_rgb(image if turn is None else image.transpose(turn)))


def is_picture_name(path: pathlib.PurePath) -> bool:
    """Returns whether a file's suffix is a picture's; for picking pictures out of a folder."""
    return Image.registered_extensions().get(path.suffix.lower()) in Image.OPEN


def upright_size(source: bytes | str | os.PathLike) -> tuple[int, int]:
    """Returns the height and the width that `decode` gives, in pixels, from the header alone.

    Raises:
        FileNotFoundError, ValueError: as `decode` does.
    """
    with _opened("upright_size", source) as image:
        if image.format == "TIFF":  # Pillow turns a TIFF itself, some versions while loading
            image.load()
        width, height = image.size
        return (width, height) if _orientation(image) in SWAPPING_ORIENTATIONS else (height, width)


def orientation(source: bytes | str | os.PathLike) -> int:
    """Returns the EXIF orientation, 1 (upright) to 8, that `decode` undoes.

    A picture whose EXIF is broken or says anything else counts as upright.

    Raises:
        FileNotFoundError, ValueError: as `decode` does.
    """
    with _opened("orientation", source) as image:
        return _orientation(image)


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
        image = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    canvas[:height, :width] = np.asarray(image)
    return height, width


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":
        return 1
    if image.format == "PNG":
        image.load()  # its EXIF may stand behind the pixels
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
        return int(value) if value in _TURNS else 1
    except MemoryError:
        raise
    except Exception:  # Pillow lets out whatever its parsers meet; the picture itself may be whole
        return 1


@contextlib.contextmanager
def _opened(function: str, source: bytes | str | os.PathLike) -> Iterator[Image.Image]:
    """Opens a picture, and turns whatever reading it raises into a ValueError that names it."""
    try:
        with _PILLOWS_WARNINGS, _open(source) as image:
            yield image
    except FileNotFoundError:
        raise
    except Exception as error:
        # Pillow's plugins let out whatever their parsers meet: struct.error, AttributeError, ...
        what = f"{len(source)} bytes" if isinstance(source, bytes) else str(source)
        raise ValueError(f"images.{function}: cannot read {what}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not a picture"
    if isinstance(error, Image.DecompressionBombError):
        number = re.search(r"\d+", str(error))
        return _too_large(number[0] if number else "its")
    if isinstance(error, MemoryError):
        return "not enough memory for its pixels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    if isinstance(error, OSError | ValueError | SyntaxError | EOFError):
        return text or type(error).__name__  # Pillow's own words
    return f"damaged ({type(error).__name__}: {text})"


def _too_large(number: object) -> str:
    return (
        f"its header promises {number} pixels, more than fit into {_limit_mib.get()} MiB, the "
        "limit for one picture; raise it with --max_picture_mib if the picture is that large"
    )


class _PillowsWarnings:
    """Silences Pillow's warnings (of broken EXIF, of large pictures) while any thread reads.

    Callers could not act on them. Where two threads overlap, warnings.catch_warnings alone would
    leave the filters in disorder; here the first to come changes them, and the last to leave puts
    them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0
        self._caught: warnings.catch_warnings | None = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._readers:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._readers += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._readers -= 1
            if not self._readers:
                self._caught.__exit__(None, None, None)


_PILLOWS_WARNINGS = _PillowsWarnings()
_opening = threading.Lock()


def _open(source: bytes | str | os.PathLike) -> Image.Image:
    """Opens a picture that may be decoded; its pixels are not read yet."""
    if not isinstance(source, bytes):
        kind = plain_files.file_kind(pathlib.Path(source))
        if kind != "a file":  # opening a FIFO would wait for somebody who writes
            raise ValueError(f"expected a file, got {kind}")
    limit = _limit_mib.get()
    Image.init()
    # Pillow hands EPS to Ghostscript, which runs it as a program.
    formats = [name for name in Image.ID if name != "EPS"]
    with _opening:
        # Pillow's own limit is in pixels and a global; it stands behind many plugins' headers.
        pillows = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = limit and (limit * 2**20 // _BYTES_PER_PIXEL) // 2
        try:
            image = Image.open(
                io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats
            )
        finally:
            Image.MAX_IMAGE_PIXELS = pillows
    if limit is not None and _bytes_needed(image) > limit * 2**20:
        image.close()
        raise ValueError(_too_large(image.width * image.height))
    return image


def _bytes_needed(image: Image.Image) -> int:
    is_plain = image.mode in ("1", "L", "P", "RGB", *_SIXTEEN_BIT_MODES)
    is_plain = is_plain and not image.has_transparency_data and image.format not in _WIDE_CODECS
    per_pixel = _BYTES_PER_PIXEL if is_plain else _BYTES_PER_CONVERTED_PIXEL
    return image.width * image.height * per_pixel


def _read_reduced(image: Image.Image, canvas_size: tuple[int, int]) -> None:
    swapped = _orientation(image) in SWAPPING_ORIENTATIONS
    rows, columns = canvas_size[::-1] if swapped else canvas_size
    scale = min(rows / image.height, columns / image.width)
    if scale < 1:
        image.draft(image.mode, (math.ceil(image.width * scale), math.ceil(image.height * scale)))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BIT_MODES:
        return _sixteen_bit_to_rgb(image)
    if image.mode == "F":
        raise ValueError("expected 8 or 16 bits a channel, got floating-point pixels")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        image = Image.alpha_composite(white, rgba)
    return image if image.mode == "RGB" else image.convert("RGB")


def _sixteen_bit_to_rgb(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise ValueError(f"expected 16-bit pixels in 0..65535, got {values.min()}..{values.max()}")
    values = values.astype(np.uint32)
    values += 128  # in place, for the memory
    values //= 257
    return Image.fromarray(values.astype(np.uint8)).convert("RGB")
