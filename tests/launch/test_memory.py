import os
import pathlib
import platform
import subprocess
import sys

import pytest

from launch import memory

# The last line of what a `-m launch...` sees, once launch/__init__.py is done with it.
PROGRAM = "import os; print(os.environ.get('GLIBC_TUNABLES', ''))"


def madvise():
    return memory._MODE.exists() and "[madvise]" in memory._MODE.read_text()


@pytest.mark.skipif(
    not sys.platform.startswith("linux")
    or platform.libc_ver()[0] != "glibc"
    or tuple(map(int, platform.libc_ver()[1].split("."))) < (2, 35)
    or not madvise(),
    reason="the system has no huge pages on demand",
)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "glibc.malloc.hugetlb=1"),
        ("glibc.malloc.arena_max=2", "glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1"),
        ("glibc.malloc.hugetlb=0", "glibc.malloc.hugetlb=0"),
    ],
)
def test_a_command_starts_again_with_huge_pages(tmp_path, before, after):
    package = tmp_path / "launch"
    package.mkdir()
    source = pathlib.Path(memory.__file__).parent
    for name in ("__init__.py", "memory.py"):
        (package / name).write_text((source / name).read_text())
    (package / "show.py").write_text(f"import sys\n{PROGRAM}\nprint(sys.argv[1:])\n")
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    if before is not None:
        environment["GLIBC_TUNABLES"] = before
    command = [sys.executable, "-m", "launch.show", "--flag", "a b"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [after, "['--flag', 'a b']"]


def test_importing_the_commands_restarts_nothing(monkeypatch):
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("restarted"))
    memory.restart_with_huge_pages()
