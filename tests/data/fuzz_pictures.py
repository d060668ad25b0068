"""Damages good pictures at random and reads them: only a ValueError may come out, within 2 s.

python tests/data/fuzz_pictures.py --seconds 300 --seed 0

Runs under a limit of the process's memory and counts what came out. It stops at the first picture
that did anything else, and writes it to --keep.
"""

import argparse
import collections
import io
import pathlib
import resource
import sys
import time
import warnings

import numpy as np
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
from ssd_jax.data import images

MEMORY = 2 * 2**30  # address space of the process
LIMIT_MIB = 256  # for one picture
SECONDS = 2.0  # for one picture

# Values that headers do not expect.
EXTREMES = [0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1]


def seeds() -> dict[str, bytes]:
    """Returns a small good picture of each kind."""
    Image.init()
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (40, 56, 3), np.uint8))
    other = Image.fromarray(rng.integers(0, 256, (40, 56, 3), np.uint8))
    tags = Image.Exif()
    tags[0x0112] = 6
    tags[0x010F] = "a camera"
    tags[0x011A] = 72.0
    tags.get_ifd(0x8825)[2] = (48.0, 8.0, 1.5)  # GPS
    both = {"save_all": True, "append_images": [other]}
    kinds = {
        "JPEG": (colour, "JPEG", {"exif": tags}),
        "progressive JPEG": (colour, "JPEG", {"exif": tags, "progressive": True}),
        "CMYK JPEG": (colour.convert("CMYK"), "JPEG", {"exif": tags}),
        "MPO": (colour, "MPO", both | {"exif": tags}),
        "PNG": (colour, "PNG", {"exif": tags}),
        "palette PNG": (colour.quantize(16), "PNG", {"exif": tags, "transparency": 3}),
        "16-bit PNG": (Image.fromarray(rng.integers(0, 2**16, (40, 56), np.uint16)), "PNG", {}),
        "APNG": (colour, "PNG", both),
        "GIF": (colour.quantize(16), "GIF", {"transparency": 3}),
        "animated GIF": (colour, "GIF", both),
        "BMP": (colour, "BMP", {}),
        "TIFF": (colour, "TIFF", {"tiffinfo": {274: 6}}),
        "LZW TIFF": (colour, "TIFF", {"tiffinfo": {274: 3}, "compression": "tiff_lzw"}),
        "WebP": (colour, "WEBP", {"exif": tags}),
        "animated WebP": (colour, "WEBP", both),
        "ICO": (colour, "ICO", {"sizes": [(56, 40)]}),
        "JPEG 2000": (colour, "JPEG2000", {}),
        "TGA": (colour, "TGA", {}),
        "PPM": (colour, "PPM", {}),
        "PCX": (colour, "PCX", {}),
        "AVIF": (colour, "AVIF", {"exif": tags, "speed": 10}),
    }
    found = {}
    for name, (image, file_format, options) in kinds.items():
        if file_format in Image.SAVE:  # AVIF and JPEG 2000 depend on how Pillow was built
            stream = io.BytesIO()
            image.save(stream, file_format, **options)
            found[name] = stream.getvalue()
    return found


def damaged(picture: bytes, others: list[bytes], rng: np.random.Generator) -> bytes:
    """Returns a picture with a few of its bytes changed, cut, repeated or from another file."""
    content = bytearray(picture)
    for _ in range(rng.integers(1, 6)):
        # Half of the damage is done to the header.
        end = len(content) if rng.random() < 0.5 else min(len(content), 200)
        at = int(rng.integers(0, max(end, 1)))
        match rng.integers(0, 7):
            case 0:
                content[at : at + 1] = bytes([rng.integers(0, 256)])
            case 1:
                if at < len(content):
                    content[at] ^= 1 << int(rng.integers(0, 8))
            case 2:
                size = int(rng.choice([1, 2, 4]))
                value = int(rng.choice(EXTREMES)) % 2 ** (8 * size)
                content[at : at + size] = value.to_bytes(size, rng.choice(["little", "big"]))
            case 3:
                del content[at:]
            case 4:
                del content[at : at + int(rng.integers(1, 30))]
            case 5:
                piece = content[at : at + int(rng.integers(1, 60))]
                content[at:at] = piece * int(rng.integers(1, 20))
            case 6:
                other = others[rng.integers(0, len(others))]
                begin = int(rng.integers(0, len(other)))
                content[at : at + 40] = other[begin : begin + 40]
    return bytes(content)


def main() -> int:
    """Fuzzes for --seconds, prints the counts, and returns 1 where something else came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=pathlib.Path, default=pathlib.Path("damaged_picture"))
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("error")
    rng = np.random.default_rng(arguments.seed)
    pictures = seeds()
    for name, picture in pictures.items():
        assert images.decode(picture).shape in {(40, 56, 3), (56, 40, 3)}, name
    counts: collections.Counter[str] = collections.Counter()
    slowest = 0.0
    end = time.monotonic() + arguments.seconds
    names = list(pictures)
    while time.monotonic() < end:
        name = names[counts.total() % len(names)]
        content = damaged(pictures[name], list(pictures.values()), rng)
        canvas_size = (16, 16) if rng.random() < 0.3 else None
        began = time.monotonic()
        try:
            with images.memory_limit(LIMIT_MIB):
                read = images.decode(content, canvas_size=canvas_size)
                # Reduced, a side may differ by rounding; otherwise the header tells the truth.
                if canvas_size is None and images.upright_size(content) != read.shape[:2]:
                    raise AssertionError(f"{images.upright_size(content)} is {read.shape}")
            counts["read"] += 1
        except ValueError:
            counts["refused"] += 1
        except BaseException:
            arguments.keep.write_bytes(content)
            print(f"a damaged {name}, kept as {arguments.keep}:", file=sys.stderr)
            raise
        seconds = time.monotonic() - began
        slowest = max(slowest, seconds)
        if seconds > SECONDS:
            arguments.keep.write_bytes(content)
            print(f"a damaged {name}, kept as {arguments.keep}, took {seconds:.1f} s")
            return 1
    print(f"{counts['read']} read, {counts['refused']} refused, slowest {slowest:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
