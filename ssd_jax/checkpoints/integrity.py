"""The integrity of a checkpoint: the sizes and checksums of all its files."""

import hashlib
import json
import os
import pathlib

# In a checkpoint's folder; written last, before the folder gets its name.
MANIFEST = "manifest.json"

# Files up to this many bytes are cheap to compare at any time.
_SMALL = 1 << 16


def seal(folder: pathlib.Path) -> None:
    """Writes the manifest of a complete checkpoint."""
    files = {
        path.relative_to(folder).as_posix(): {
            "size": path.stat().st_size,
            "sha256": _checksum(path),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    with (folder / MANIFEST).open("w") as file:
        json.dump({"files": files}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def is_sealed(folder: pathlib.Path) -> bool:
    """Returns whether a checkpoint has a manifest."""
    return (folder / MANIFEST).exists()


def damage(folder: pathlib.Path, *, contents: bool = True) -> str | None:
    """Returns what is wrong with a sealed checkpoint, or None.

    Without `contents` it compares the checksums of small files alone.

    Raises:
        OSError: where a file cannot be read.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        for name, expected in manifest["files"].items():
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if (size := path.stat().st_size) != expected["size"]:
                return f"{name} has {size} bytes, and {expected['size']} were written"
            if (contents or size <= _SMALL) and _checksum(path) != expected["sha256"]:
                return f"{name} has other bytes than were written"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} is damaged"
    return None


def _checksum(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
