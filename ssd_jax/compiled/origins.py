"""Where the instructions of a compiled program come from: JAX operations and lines of source."""

import dataclasses
import functools
import pathlib
import re
from collections.abc import Sequence

from ssd_jax.compiled.hlo import Instruction, Program

# Of this checkout or installation: sources below it are named relative to it.
_ROOT = pathlib.Path(__file__).parents[2]

# How far the producer of an instruction without a name in the source is looked for.
_FAR = 4


@dataclasses.dataclass(frozen=True)
class Origins:
    """The origins of one program's instructions."""

    program: Program

    def of(self, computation: str, instruction: Instruction) -> Instruction:
        """Returns the nearest producer that has a name in the source, itself first.

        The compiler's own concatenations, copies and fusions have none. Where no producer has one
        either, the instruction itself is returned.
        """
        defined = self.program.definitions(computation)
        level: Sequence[Instruction] = [instruction]
        for _ in range(_FAR):
            for one in level:
                if one.op_name:
                    return one
            for one in level:
                for called in one.called if one.opcode == "fusion" else ():
                    for inner in reversed(self.program.computations.get(called, ())):
                        if inner.op_name and inner.opcode != "parameter":
                            return inner
            level = [defined[name] for one in level for name in one.operands if name in defined]
        return instruction

    def source(self, instruction: Instruction) -> str:
        """Returns "file:line" of the operation that an instruction comes from, or an empty text."""
        return next(iter(self.stack(instruction)), "")

    def stack(self, instruction: Instruction) -> tuple[str, ...]:
        """Returns the "file:line" of the operation and of its callers, innermost first."""
        attribute = instruction.attribute
        if file := attribute(r'\bsource_file="([^"]*)"'):
            line = attribute(r"\bsource_line=(\d+)")
            return (f"{_short(file)}:{line}",)
        found = []
        frame = attribute(r"\bstack_frame_id=(\d+)")
        while frame in self._frames:
            place, parent = self._frames[frame]
            found.append(place)
            frame = parent if parent != frame else ""
        return tuple(dict.fromkeys(found))

    @functools.cached_property
    def _frames(self) -> dict[str, tuple[str, str]]:
        """The "file:line" of each stack frame, and the number of its caller's."""
        files, places, frames = {}, {}, {}
        for line in self.program.tables:
            if match := re.match(r'(\d+) "(.*)"', line):
                files.setdefault(match.group(1), _short(match.group(2)))  # functions follow files
            elif match := re.match(r"(\d+) \{file_name_id=(\d+) .*?\bline=(\d+)", line):
                number, file, row = match.groups()
                places[number] = f"{files.get(file, '?')}:{row}"
            elif match := re.match(r"(\d+) \{file_location_id=(\d+) parent_frame_id=(\d+)", line):
                number, place, parent = match.groups()
                frames[number] = (places.get(place, ""), parent)
        return frames


def _short(file: str) -> str:
    """Returns a source's path within its checkout or its packages."""
    path = pathlib.PurePath(file)
    if path.is_relative_to(_ROOT):
        return str(path.relative_to(_ROOT))
    return file.rpartition("/site-packages/")[2]
