"""Whether prepared data are the same as before, without reading all of a large data set."""

import hashlib
import pathlib

import tensorflow_datasets as tfds

from ssd_jax.data import records

# A split up to this many bytes is read whole, in a fraction of a second. Of a larger one every
# file gives its size and blocks that are spread over it, the first and the last among them: the
# last says where every record begins, so a record of another size is found, too.
WHOLE_BYTES = 256 << 20
_BLOCKS_PER_FILE, _BLOCK_BYTES = 16, 1 << 16


def fingerprint(spec: str, data_dir: str | pathlib.Path) -> str:
    """Returns a checksum of the records that `records.open_source` reads, under any name."""
    found = records.prepared(data_dir)
    digest = hashlib.sha256()
    for item in spec.split(","):
        name, _, split = item.strip().partition(":")
        info = tfds.builder_from_directory(found[name]).info
        try:
            parts = info.splits[split].file_instructions
        except ValueError:  # a name of ours for several splits, such as trainval
            parts = [part for each in info.splits.values() for part in each.file_instructions]
        paths = [pathlib.Path(part.filename) for part in parts]
        sizes = [path.stat().st_size for path in paths]
        whole = sum(sizes) <= WHOLE_BYTES
        for part, path, size in zip(parts, paths, sizes, strict=True):
            digest.update(f"{size} {part.skip} {part.take} {part.examples_in_shard};".encode())
            _add(digest, path, size, whole=whole)
    return digest.hexdigest()


def _add(digest: "hashlib._Hash", path: pathlib.Path, size: int, *, whole: bool) -> None:
    with path.open("rb") as file:
        if whole:
            while block := file.read(1 << 20):
                digest.update(block)
            return
        last = max(size - _BLOCK_BYTES, 0)
        for i in range(_BLOCKS_PER_FILE):
            file.seek(last * i // (_BLOCKS_PER_FILE - 1))
            digest.update(file.read(_BLOCK_BYTES))
