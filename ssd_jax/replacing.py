"""Writing a file so that its name never stands for half of it."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a path beside `path` to write to; it takes the place of `path` at the end.

    A full disk, an exception or a kill leaves what was there before.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        yield aside
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise OSError(f"{path} could not be written, and is as it was: {error}") from error
    finally:
        aside.unlink(missing_ok=True)
