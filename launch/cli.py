"""What the commands share: flags, logging, and errors without tracebacks."""

import functools
import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import rich.console
import rich.table
from absl import app, flags

from ssd_jax import config
from ssd_jax.data import images
from ssd_jax.train.report import NonFiniteLossError

from . import pipes

DEBUG = flags.DEFINE_bool("debug", False, "Show the traceback of an error, and JAX's own log.")
COMPILATION_CACHE = flags.DEFINE_string(
    "compilation_cache",
    os.path.join("~", ".cache", "ssd_jax"),
    "Where compiled programs are kept between runs; empty: nowhere.",
)

# What a user's input can cause; anything else is a defect of ours and keeps its traceback.
USER_ERRORS = (ValueError, OSError, NonFiniteLossError)

# What a shell reports of a program that Ctrl-C ended: 128 + 2.
INTERRUPTED = 130

# Libraries that log the tracebacks of errors that they raise, too: Orbax, a page for each array.
_TALKATIVE = ("absl", "asyncio")

# A field of the config, as --config.group.field=value or --config.group.field value.
_OVERRIDE = re.compile(r"--?(config\.[\w.]+)(?:=(.*))?", re.DOTALL)


class ConfigFlag:
    """--config and its overrides, `--config.group.field=value`.

    Attributes:
        overrides: the text of every field on the command line, by its path.
    """

    def __init__(self, required: bool) -> None:
        """Defines the flag."""
        self.overrides: dict[str, str] = {}
        self._flag = flags.DEFINE_string(
            "config", None, "A file of configs/, with its variant: configs/ssd.py:300,voc"
        )
        if required:
            flags.mark_flag_as_required("config")

    @property
    def name(self) -> str | None:
        """The file and its variant; None where --config was not given."""
        return self._flag.value

    @functools.cached_property
    def value(self) -> dict[str, Any] | None:
        """The config as nested dicts; None where --config was not given.

        Raises:
            ValueError: for a file, a field or a value that does not exist.
        """
        return None if self.name is None else _read_config(self.name, self.overrides)


_config_flag: ConfigFlag | None = None


def define_config(required: bool = False) -> ConfigFlag:
    """Defines --config and its overrides, `--config.group.field=value`."""
    global _config_flag
    _config_flag = ConfigFlag(required)
    return _config_flag


def take_overrides(argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Returns the words of a command line that are no overrides, and the overrides.

    Raises:
        ValueError: for an override without a value, or a --flagfile that is not there.
    """
    rest: list[str] = []
    found: dict[str, str] = {}
    try:
        # What stands in a --flagfile stands on the command line.
        words = iter(flags.FLAGS.read_flags_from_files(list(argv), force_gnu=False))
    except flags.Error as error:
        raise ValueError(f"--flagfile: {str(error).removeprefix('ERROR:: ')}") from None
    for word in words:
        if word == "--":
            return [*rest, word, *words], found
        match = _OVERRIDE.fullmatch(word)
        if match is None:
            rest.append(word)
            continue
        path, value = match.groups()
        if value is None:
            value = next(words, None)
        if value is None:
            raise ValueError(f"--{path}: expected a value, as in --{path}=VALUE")
        found[path] = value
    return rest, found


def read_config(text: str) -> config.Experiment:
    """Returns the config of "FILE[:VARIANT] [--config.group.field=value ...]".

    Raises:
        ValueError: for what --config would refuse.
    """
    try:
        rest, overrides = take_overrides(shlex.split(text))
        if len(rest) != 1:
            raise ValueError("expected FILE[:VARIANT] [--config.x=y ...]")
        return config.resolve(_read_config(rest[0], overrides))
    except ValueError as error:
        raise ValueError(f"in {text!r}: {error}") from None


def _read_config(name: str, overrides: dict[str, str]) -> dict[str, Any]:
    values = config.read_file(name)
    config.override(values, overrides)
    return values


def define_workdir() -> flags.FlagHolder:
    """Defines --workdir."""
    flag = flags.DEFINE_string("workdir", None, "The folder of the run.")
    flags.mark_flag_as_required("workdir")
    return flag


def define_trained() -> tuple[flags.FlagHolder, flags.FlagHolder]:
    """Defines --workdir and --weights, of which exactly one is to be given."""
    workdir = flags.DEFINE_string("workdir", None, "The folder of the run.")
    weights = flags.DEFINE_string(
        "weights", None, "In place of a run: a detector that launch.import_weights wrote."
    )
    flags.mark_flags_as_mutual_exclusive(["workdir", "weights"], required=True)
    return workdir, weights


def define_max_picture_mib() -> flags.FlagHolder:
    """Defines --max_picture_mib, of commands that decode pictures which nobody has looked at."""
    return flags.DEFINE_integer(
        "max_picture_mib",
        images.DEFAULT_LIMIT_MIB,
        "The memory that one picture may take while it is decoded, 16 to 24 bytes a pixel; a "
        "picture whose header promises more is refused.",
        lower_bound=1,
    )


def print_table(table: rich.table.Table) -> None:
    """Prints a table: into a file or a pipe as wide as it is, on a terminal as wide as that."""
    console = rich.console.Console()
    if not sys.stdout.isatty():
        console = rich.console.Console(width=1000)
        console = rich.console.Console(width=console.measure(table).maximum)
    console.print(table)


def positional() -> list[str]:
    """Returns the words of the command line that belong to no flag."""
    return flags.FLAGS(take_overrides(sys.argv)[0])[1:]


def run(main: Callable[[], int | None]) -> None:
    """Runs a command's `main`: exit status 0, or what it returns, or 1 with an error in a line.

    Ctrl-C is status 130, and a reader that leaves (`| head`) 141, both without a traceback.
    """

    def guarded(argv: Sequence[str]) -> int | None:
        del argv
        logging.basicConfig(
            format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING, force=True
        )
        logging.getLogger("ssd_jax").setLevel(logging.INFO)
        if not DEBUG.value:
            for library in _TALKATIVE:
                logging.getLogger(library).setLevel(logging.CRITICAL)
        if COMPILATION_CACHE.value:
            cache = os.path.expanduser(COMPILATION_CACHE.value)
            jax.config.update("jax_compilation_cache_dir", cache)
        try:
            return main()
        except BrokenPipeError:
            raise  # for `pipes`
        except USER_ERRORS as error:
            if DEBUG.value:
                raise
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            if DEBUG.value:
                raise
            print("interrupted", file=sys.stderr)
            return INTERRUPTED

    def parse(argv: Sequence[str]) -> list[str]:
        try:
            rest, overrides = take_overrides(argv)
            positional = flags.FLAGS(rest)
            if overrides and not (_config_flag and _config_flag.name):
                raise ValueError(f"--{next(iter(overrides))} changes a config: give --config, too")
            if _config_flag:
                _config_flag.overrides.update(overrides)
            return positional
        except (flags.Error, ValueError) as error:
            print(f"error: in the flags: {error}", file=sys.stderr)
            sys.exit(1)

    with pipes.reader_may_leave():
        app.run(guarded, flags_parser=parse)
