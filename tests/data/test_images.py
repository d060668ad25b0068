import io
import os
import pathlib
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from annotated_pictures import UPRIGHT, encode, exif, noise
from PIL import Image

from ssd_jax.data import images


def saved(image, file_format, **options):
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def flat(mode, colour, file_format, **options):
    return saved(Image.new(mode, (7, 5), colour), file_format, **options)


def palette(transparent=None):
    image = Image.new("P", (7, 5), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    return saved(image, "PNG", **({} if transparent is None else {"transparency": transparent}))


MODES = {
    "RGB": (flat("RGB", (10, 20, 30), "PNG"), (10, 20, 30)),
    "greyscale": (flat("L", 77, "PNG"), (77, 77, 77)),
    "bilevel": (flat("1", 1, "PNG"), (255, 255, 255)),
    "palette": (palette(), (200, 100, 50)),
    "transparent palette": (palette(transparent=1), (255, 255, 255)),
    "opaque RGBA": (flat("RGBA", (10, 20, 30, 255), "PNG"), (10, 20, 30)),
    "clear RGBA": (flat("RGBA", (10, 20, 30, 0), "PNG"), (255, 255, 255)),
    # 51 / 255 is a fifth: 100 / 5 + 255 * 4 / 5 = 224
    "translucent grey": (flat("LA", (100, 51), "PNG"), (224, 224, 224)),
    # no cyan, half magenta, full yellow, no black: (255, 255 - 128, 0)
    "CMYK": (flat("CMYK", (0, 128, 255, 0), "TIFF"), (255, 127, 0)),
    "GIF": (flat("L", 200, "GIF"), (200, 200, 200)),
    "BMP": (flat("RGB", (1, 2, 3), "BMP"), (1, 2, 3)),
    "WebP": (flat("RGB", (0, 0, 0), "WEBP", lossless=True), (0, 0, 0)),
}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_becomes_rgb(name):
    encoded, colour = MODES[name]
    decoded = images.decode(encoded)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, np.full((5, 7, 3), colour, np.uint8))
    assert images.upright_size(encoded) == (5, 7)


def test_cmyk_jpeg_is_not_inverted():
    encoded = flat("CMYK", (0, 128, 255, 0), "JPEG", quality=100)
    assert np.abs(images.decode(encoded).astype(int) - (255, 127, 0)).max() <= 3


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_clipped(file_format):
    # v / 257, rounded: 128 / 257 = .498, 129 / 257 = .502, 32768 / 257 = 127.502
    values = np.array([[0, 128, 129, 256, 32768, 65535]], np.uint16)
    decoded = images.decode(saved(Image.fromarray(values), file_format))
    np.testing.assert_array_equal(decoded[0, :, 0], [0, 0, 1, 1, 128, 255])
    np.testing.assert_array_equal(decoded[..., 0], decoded[..., 2])


def test_big_endian_sixteen_bits():
    image = Image.frombytes("I;16B", (2, 1), b"\xff\xff\x01\x01")
    decoded = images.decode(saved(image, "TIFF"))
    np.testing.assert_array_equal(decoded[0, :, 0], [255, 1])


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation, file_format):
    stored = np.kron(noise(3, 4), np.ones((16, 16, 1), np.uint8))  # blocks survive JPEG
    lossless = {"PNG": {}, "JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    encoded = encode(stored, file_format, exif=exif(orientation), **lossless[file_format])
    expected = UPRIGHT[orientation](stored)
    decoded = images.decode(encoded)
    assert np.abs(decoded.astype(int) - expected).max() <= (4 if file_format == "JPEG" else 0)
    assert images.upright_size(encoded) == expected.shape[:2]
    assert images.orientation(encoded) == orientation


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_tiff_orientation_is_applied_once(orientation):
    stored = noise(4, 6)
    encoded = encode(stored, "TIFF", tiffinfo={274: orientation})
    expected = UPRIGHT[orientation](stored)
    np.testing.assert_array_equal(images.decode(encoded), expected)
    assert images.upright_size(encoded) == expected.shape[:2]


def test_an_impossible_orientation_is_upright():
    encoded = encode(noise(4, 6), exif=exif(9))
    assert images.orientation(encoded) == 1
    np.testing.assert_array_equal(images.decode(encoded), noise(4, 6))


@pytest.mark.parametrize("file_format", ["GIF", "TIFF", "MPO", "PNG", "WEBP"])
def test_the_first_picture_of_a_file_with_several(file_format):
    frames = [Image.new("RGB", (7, 5), (value,) * 3) for value in (10, 200)]
    options = {"lossless": True} if file_format == "WEBP" else {}
    encoded = saved(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    assert (images.decode(encoded) == 10).all()


def phone_exif(orientation, *, order="<", extra=()):
    """EXIF as bytes, with further (tag, type, count, value) entries that no encoder would write."""
    entries = [(0x0112, 3, 1, struct.pack(order + "HH", orientation, 0)), *extra]
    body = struct.pack(order + "H", len(entries))
    for tag, kind, count, value in sorted(entries):
        body += struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")
    head = b"II*\0" if order == "<" else b"MM\0*"
    return b"Exif\0\0" + head + struct.pack(order + "I", 8) + body + bytes(4)


# What cameras and gallery programs leave behind, and exif_transpose cannot write again.
PHONES = {
    "a thumbnail offset behind the end": [(0x0201, 4, 1, b"\xff\xff\0\0")],
    "a GPS block behind the end": [(0x8825, 4, 1, b"\xff\xff\xff\0")],
    "an EXIF block that is itself": [(0x8769, 4, 1, b"\x08\0\0\0")],
    "a rational over zero": [(0x011A, 5, 1, b"\x08\0\0\0")],
    "text as a number": [(0x0128, 2, 4, b"ab\0\0")],
    "an unknown type": [(0x010F, 77, 1, b"\0\0\0\0")],
    "a size of a gigabyte": [(0x010E, 2, 2**30, b"\x08\0\0\0")],
    "signed where unsigned is meant": [(0x0100, 9, 1, b"\xff\xff\xff\xff")],
}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("name", PHONES)
def test_a_picture_is_turned_by_its_orientation_whatever_else_exif_says(name, order):
    stored = np.kron(noise(3, 4), np.ones((16, 16, 1), np.uint8))
    tags = phone_exif(6, order=order, extra=PHONES[name])
    encoded = encode(stored, "JPEG", quality=100, subsampling=0, exif=tags)
    assert images.orientation(encoded) == 6
    assert images.upright_size(encoded) == (64, 48)
    decoded = images.decode(encoded).astype(int)
    assert np.abs(decoded - UPRIGHT[6](stored)).max() <= 4
    assert images.decode(encoded, canvas_size=(32, 24)).shape == (32, 24, 3)


@pytest.mark.parametrize(
    "tags",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0" + b"\xff" * 40,
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        phone_exif(6)[:20],
        b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>",
    ],
)
def test_broken_exif_is_that_of_an_upright_picture(tags):
    stored = np.full((5, 7, 3), 90, np.uint8)
    encoded = encode(stored, "JPEG", exif=tags)
    assert images.orientation(encoded) == 1
    np.testing.assert_array_equal(images.decode(encoded), stored)


@pytest.mark.parametrize(
    "error",
    [
        *(RuntimeError, NotImplementedError, AttributeError, TypeError, SyntaxError, MemoryError),
        *(IndexError, KeyError, OverflowError, EOFError, RecursionError, OSError, ValueError),
        *(struct.error, zlib.error, Image.DecompressionBombError, UserWarning),
    ],
)
def test_whatever_pillow_raises_is_a_value_error_with_the_name(error, monkeypatch, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode(noise(5, 7)))

    def fails(self):
        raise error("out of luck")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fails)
    for read in (images.decode, images.upright_size, images.orientation):
        with pytest.raises(ValueError, match=r"cannot read .*a\.png: \w+"):
            read(path)


def png_header(width, height, mode=2, bits=8):
    """A PNG of no more than its header and an empty row."""

    def chunk(name, content):
        crc = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, mode, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + head + pixels + chunk(b"IEND", b"")


# 2048 MiB / 16 bytes = 134217728 = 16384 x 8192 pixels; with alpha 24 bytes.
@pytest.mark.parametrize(
    ("header", "pixels"),
    [
        (png_header(16384, 8193), 16384 * 8193),
        (png_header(16384, 8193, mode=0, bits=1), 16384 * 8193),
        (png_header(12288, 8192, mode=6), 12288 * 8192),
        (png_header(2**31 - 1, 2**31 - 1), (2**31 - 1) ** 2),
        (flat("L", 0, "GIF").replace(b"\x07\0\x05\0", b"\xff\xff\xff\xff"), 65535**2),
        (flat("RGB", 0, "BMP").replace(b"\x07\0\0\0", b"\0\0\0\x7f", 1), 5 * 0x7F000000),
    ],
    ids=["RGB", "bilevel", "RGBA", "enormous", "GIF", "BMP"],
)
def test_a_decompression_bomb_is_refused_by_its_header(header, pixels):
    message = f"header promises {pixels} pixels, more than fit into 2048 MiB.*--max_picture_mib"
    for read in (images.decode, images.upright_size):
        with pytest.raises(ValueError, match=message):
            read(header)


def test_the_limit_can_be_raised_and_lowered():
    with pytest.raises(ValueError, match=r"truncated|broken|incomplete"):  # of this fake the pixels
        images.decode(png_header(16384, 8192))
    encoded = encode(noise(256, 256))  # 256 * 256 * 16 bytes = 1 MiB
    with images.memory_limit(1):
        assert images.decode(encoded).shape == (256, 256, 3)
        with pytest.raises(ValueError, match="65792 pixels, more than fit into 1 MiB"):
            images.decode(encode(noise(257, 256)))
        with images.memory_limit(None):
            assert images.decode(encode(noise(257, 256))).shape == (257, 256, 3)
    with images.memory_limit(2049), pytest.raises(ValueError, match=r"truncated|broken|incomplete"):
        images.decode(png_header(16384, 8193))
    assert Image.MAX_IMAGE_PIXELS == 89478485  # Pillow's own limit is as it was


def test_threads_leave_the_warnings_as_they_were():
    encoded = encode(noise(300, 300), "JPEG", exif=phone_exif(6, extra=PHONES["an unknown type"]))
    before = list(warnings.filters)

    def read():
        for _ in range(20):
            images.decode(encoded)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


@pytest.mark.parametrize("kind", ["a folder", "a FIFO", "a device"])
def test_what_is_no_file_is_named_and_not_waited_for(kind, tmp_path):
    path = tmp_path / "a.jpg"
    if kind == "a folder":
        path.mkdir()
    elif kind == "a FIFO":
        os.mkfifo(path)
    else:
        path = pathlib.Path("/dev/zero")
    for read in (images.decode, images.upright_size, images.orientation):
        with pytest.raises(ValueError, match=f"cannot read {path}: expected a file, got {kind}"):
            read(path)


def test_postscript_is_not_handed_to_a_program():
    with pytest.raises(ValueError, match="not a picture"):
        images.decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a picture",
        encode(noise(64, 64), "JPEG")[:900],
        encode(noise(64, 64), "PNG")[:900],
        saved(Image.new("F", (2, 2)), "TIFF"),
    ],
    ids=["empty", "text", "truncated JPEG", "truncated PNG", "floats"],
)
def test_a_broken_file_is_a_value_error_that_names_it(content, tmp_path):
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"images\.decode: cannot read .*broken\.jpg"):
        images.decode(path)
    with pytest.raises(ValueError, match=f"cannot read {len(content)} bytes: [^<]+$"):
        images.decode(content)


def test_a_broken_header_is_a_value_error():
    with pytest.raises(ValueError, match=r"images\.upright_size: cannot read 4 bytes"):
        images.upright_size(b"text")


def test_pictures_are_told_by_their_suffix():
    names = ["a.jpg", "b.PNG", "c.jpeg", "d.tif", "e.webp", "f.txt", "g", ".DS_Store", "h.xml"]
    names += ["i.pdf"]  # which Pillow only writes
    found = [name for name in names if images.is_picture_name(pathlib.PurePath(name))]
    assert found == names[:5]


def test_a_missing_file_is_not_a_broken_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        images.decode(tmp_path / "nowhere.jpg")
    with pytest.raises(FileNotFoundError):
        images.upright_size(tmp_path / "nowhere.jpg")


def test_a_path_and_its_bytes_are_the_same_picture(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(encode(noise(5, 7)))
    np.testing.assert_array_equal(images.decode(path), noise(5, 7))
    assert images.upright_size(str(path)) == (5, 7)


@pytest.mark.parametrize("size", [(5, 7), (10, 12), (10, 3)])
def test_a_picture_that_fits_is_placed_untouched(size):
    canvas = np.zeros((10, 12, 3), np.uint8)
    assert images.place(noise(*size), canvas) == size
    np.testing.assert_array_equal(canvas[: size[0], : size[1]], noise(*size))
    assert not canvas[size[0] :].any()
    assert not canvas[:, size[1] :].any()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((20, 12), (10, 6)),  # height decides: x .5
        ((20, 40), (6, 12)),  # width decides: x .3
        ((1, 240), (1, 12)),  # 1 x .05, but at least one pixel
    ],
)
def test_a_larger_picture_is_scaled_down_with_its_aspect(size, expected):
    canvas = np.zeros((10, 12, 3), np.uint8)
    assert images.place(np.full((*size, 3), 200, np.uint8), canvas) == expected
    assert (canvas[: expected[0], : expected[1]] == 200).all()
    assert not canvas[expected[0] :].any()
    assert not canvas[:, expected[1] :].any()


def test_scaling_down_is_antialiased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255  # a fineness that the canvas cannot hold: its mean is left
    canvas = np.zeros((16, 16, 3), np.uint8)
    images.place(stripes, canvas)
    assert np.abs(canvas[:, 2:-2].astype(int) - 127).max() <= 2


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_photograph_is_read_reduced_for_its_canvas(orientation):
    smooth = np.asarray(Image.fromarray(noise(6, 8)).resize((800, 600), Image.Resampling.BICUBIC))
    encoded = encode(smooth, "JPEG", quality=95, exif=exif(orientation))
    whole = images.decode(encoded)
    reduced = images.decode(encoded, canvas_size=(140, 160))
    # Upright 600 x 800 fits 140 x 160 at x .2: read at 1/4. 800 x 600 fits at x .175: at 1/4.
    assert reduced.shape[:2] == tuple(length // 4 for length in whole.shape[:2])
    canvases = np.zeros((2, 140, 160, 3), np.uint8)
    assert images.place(whole, canvases[0]) == images.place(reduced, canvases[1])
    assert np.abs(canvases[0].astype(int) - canvases[1]).mean() < 2


def test_a_picture_that_fits_is_never_reduced():
    encoded = encode(noise(60, 80), "JPEG")
    np.testing.assert_array_equal(
        images.decode(encoded, canvas_size=(60, 80)), images.decode(encoded)
    )
