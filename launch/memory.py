"""Huge pages for the arrays of a step, which make training on a CPU faster."""

import os
import pathlib
import platform
import sys

_TUNABLE = "glibc.malloc.hugetlb"
_SINCE = (2, 35)
_MODE = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")


def restart_with_huge_pages() -> None:
    """Starts a `python -m launch...` or an `ssd-jax` again, with glibc asking for huge pages.

    XLA allocates the memory of a step anew every time, and the system clears it page by page: a
    quarter of a million pages a second, more than a third of a MobileNet's step on two cores. glibc
    asks for pages of 2 MiB where a variable of the environment says so when the process begins.
    Nothing happens where it is set already, or where the system would not listen: off Linux, with
    another or an older C library, or with huge pages always on or always off.
    """
    # "-m" stands in sys.argv only while the interpreter looks for the module.
    is_command = sys.argv[:1] == ["-m"] or pathlib.Path(sys.argv[0]).name == "ssd-jax"
    if not is_command or not sys.platform.startswith("linux"):
        return
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    library, version = platform.libc_ver()
    if _TUNABLE in tunables or library != "glibc":
        return
    if tuple(map(int, version.split(".")[:2])) < _SINCE:
        return
    if not _MODE.exists() or "[madvise]" not in _MODE.read_text():
        return
    environment = {
        **os.environ,
        "GLIBC_TUNABLES": ":".join(filter(None, (tunables, f"{_TUNABLE}=1"))),
    }
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
