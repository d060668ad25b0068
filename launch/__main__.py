"""All commands behind one name: `ssd-jax train ...` or `python -m launch train ...`."""

import pathlib
import runpy
import sys

# Modules that are not commands.
_OTHERS = ("__init__", "__main__", "cli", "memory", "pipes")


def main() -> None:
    """Runs the command that the first argument names."""
    files = sorted(pathlib.Path(__file__).parent.glob("*.py"))
    commands = [file.stem for file in files if file.stem not in _OTHERS]
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in commands:
        wanted = "" if name in ("", "-h", "--help") else f"error: there is no command {name!r}\n"
        usage = f"{wanted}usage: ssd-jax COMMAND [--flags]; commands: {', '.join(commands)}"
        print(usage, file=sys.stderr)
        sys.exit(2 if wanted else 0)
    del sys.argv[1]
    runpy.run_module(f"{__package__}.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
