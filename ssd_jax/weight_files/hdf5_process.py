"""Reads an HDF5 file in a process of its own: python hdf5_process.py FILE BYTES.

Writes the numeric datasets to stdout, in the layout of .safetensors; status 1 and a line on stderr
where it cannot. Imports nothing of this project, so that it starts quickly.
"""

import json
import os
import sys

import h5py
import numpy as np

_MOST_OBJECTS = 10_000
_SPARE_BYTES = 2**26  # beside the file's own
_BYTES_A_SECOND = 100e6  # of the processor's time


def main(path: str, size: int) -> None:
    """Writes the arrays of a file of `size` bytes."""
    _limit(size)
    datasets: list[tuple[str, h5py.Dataset]] = []
    count = 0

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        nonlocal count
        count += 1
        if count > _MOST_OBJECTS:
            raise ValueError(f"it has more than {_MOST_OBJECTS:,} groups and datasets")
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiub":
            _check(name, item)
            datasets.append((name, item))

    # Links, to other files too, are not followed.
    with h5py.File(path, "r") as file:
        file.visititems(visit)
        total = sum(item.nbytes for _, item in datasets)
        if total > size:
            raise ValueError(f"its datasets lie on each other: together they have {total:,} bytes")
        header, at = {}, 0
        for name, item in datasets:
            offsets = (at, at + item.nbytes)
            kind = _kind(name, item.dtype)
            header[name] = {"dtype": kind, "shape": item.shape, "data_offsets": offsets}
            at = offsets[1]
        text = json.dumps(header).encode()
        sys.stdout.buffer.write(len(text).to_bytes(8, "little") + text)
        for name, item in datasets:
            array = np.asarray(item[()], dtype=item.dtype.newbyteorder("<"))
            if array.nbytes != item.nbytes:
                raise ValueError(f"{name} is shorter than its shape {item.shape} says")
            sys.stdout.buffer.write(array.tobytes())
    sys.stdout.buffer.flush()


def _check(name: str, item: h5py.Dataset) -> None:
    if item.external or item.is_virtual:
        raise ValueError(f"{name} lies in another file")
    # What is compressed or never written would grow beyond the file.
    if item.id.get_create_plist().get_nfilters():
        raise ValueError(f"{name} is compressed; unpack the file with h5repack -f NONE")
    if item.nbytes > item.id.get_storage_size():
        raise ValueError(f"{name} is shorter than its shape {item.shape} says")


def _kind(name: str, dtype: np.dtype) -> str:
    """Returns what .safetensors calls a dtype."""
    if dtype.kind == "f" and dtype.itemsize > 8:
        raise ValueError(f"{name} has numbers of {dtype}")
    return "BOOL" if dtype.kind == "b" else f"{dtype.kind.upper()}{8 * dtype.itemsize}"


def _limit(size: int) -> None:
    """Limits the processor's time and the memory of this process, where the system can."""
    try:
        import resource

        seconds = 1 + int(size / _BYTES_A_SECOND)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        most = used + 4 * size + _SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    except (ImportError, OSError, ValueError):
        return


if __name__ == "__main__":
    try:
        main(sys.argv[1], int(sys.argv[2]))
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        cut = "it is cut short: " if "truncated file" in said else ""
        print(f"{cut}{said[:500]}", file=sys.stderr)
        sys.exit(1)
