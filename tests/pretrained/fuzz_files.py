"""Reads damaged weight files again and again, under a limit of memory.

python tests/pretrained/fuzz_files.py SUFFIX SECONDS SEED    # pth, npz, safetensors, caffemodel, h5
"""

import pathlib
import resource
import sys
import tempfile
import time
import warnings

import hostile_files
import numpy as np
from weight_files import WRITERS

from ssd_jax.pretrained import files

_SPARE = 1 << 30  # beside what the process has when it begins
_LARGEST = 1 << 16  # of the files to begin with
_BYTES = (0, 1, 2, 127, 128, 255)


def beginnings(suffix, folder):
    """The contents to damage: files that are right, and some that already mean harm."""
    for name, write in WRITERS.items():
        if name.endswith(suffix):
            write(folder / name)
            yield (folder / name).read_bytes()
    harm = folder / "harm"
    harm.mkdir()
    if suffix == "h5":
        hostile_files.write_h5(harm)
        contents = (path.read_bytes() for path in sorted(harm.iterdir()))
    else:
        contents = (content for _, content in hostile_files.MAKERS[suffix]())
    yield from (content for content in contents if 0 < len(content) <= _LARGEST)


def damaged(content, others, rng):
    """A content with some bytes changed, cut off, doubled, or taken from another file."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        if not content:
            break
        kind, at = rng.random(), int(rng.integers(len(content)))
        length = int(rng.integers(1, 9))
        if kind < 0.6:
            content[at] = int(rng.choice((*_BYTES, rng.integers(256))))
        elif kind < 0.7:
            del content[at : at + length]
        elif kind < 0.8:
            content[at:at] = content[at : at + length] * int(rng.integers(1, 50))
        elif kind < 0.9:
            other = others[rng.integers(len(others))]
            begin = int(rng.integers(len(other)))
            content[at : at + length] = other[begin : begin + length]
        else:
            content[at : at + 8] = int(rng.integers(0, 2**63)).to_bytes(8, "little")
    if rng.random() < 0.1:
        del content[int(rng.integers(len(content) + 1)) :]
    return bytes(content)


def check(path):
    """Returns what is wrong with how a file is read, or nothing."""
    began = time.process_time()
    try:
        arrays = files.read(path)
        wrong = "" if all(np.asarray(x).size >= 0 for x in arrays.values()) else "no arrays"
        most = hostile_files.MOST_GROWTH * path.stat().st_size + hostile_files.MOST_SPARE
        if sum(x.nbytes for x in arrays.values()) > most:
            wrong = "too large"
    except ValueError as error:
        wrong = "" if str(error).startswith("pretrained: ") else f"it says {error}"
    except BaseException as error:
        wrong = f"{type(error).__name__}: {error}"
    if time.process_time() - began > hostile_files.MOST_SECONDS:
        wrong = f"{time.process_time() - began:.1f} s"
    return wrong


def fuzz(suffix, seed, *, seconds=np.inf, rounds=np.inf):
    """Returns how many files were read, and of those that went wrong the content and the reason."""
    rng = np.random.default_rng(seed)
    count, found = 0, []
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, of files that Python 2 wrote
        folder = pathlib.Path(temporary)
        contents = list(beginnings(suffix, folder))
        path = folder / f"x.{suffix}"
        began = time.monotonic()
        while count < rounds and time.monotonic() - began < seconds:
            content = damaged(contents[rng.integers(len(contents))], contents, rng)
            path.write_bytes(content)
            count += 1
            if wrong := check(path):
                found.append((content, wrong))
    return count, found


def limit_memory():
    """Leaves this process little more than it has."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + _SPARE
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    limit_memory()
    tried, wrongs = fuzz(sys.argv[1], int(sys.argv[3]), seconds=float(sys.argv[2]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{sys.argv[1]}: {tried} files, seed {sys.argv[3]}, {len(wrongs)} wrong, peak {peak} MB")
    for number, (content, wrong) in enumerate(wrongs[:20]):
        kept = pathlib.Path(tempfile.gettempdir()) / f"wrong_{number}.{sys.argv[1]}"
        kept.write_bytes(content)
        print(f"  {kept}: {wrong[:300]}")
    sys.exit(bool(wrongs))
