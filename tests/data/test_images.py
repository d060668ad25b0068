import io
import pathlib

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


def test_the_first_frame_of_an_animation():
    frames = [Image.new("L", (7, 5), value) for value in (10, 200)]
    encoded = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (images.decode(encoded) == 10).all()


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
