"""The text of a compiled program (HLO), as computations of instructions.

`jax.stages.Compiled.as_text()` gives that text on every platform. Only what a reader of programs
asks for is parsed: names, shapes, operands, the computations that are called, and where an
instruction comes from.
"""

import collections
import dataclasses
import functools
import math
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

_HEADER = re.compile(r"(?:ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$")
_INSTRUCTION = re.compile(r"\s+(ROOT )?%?([\w.\-]+) = ")
_OPCODE = re.compile(r"\s*([a-z][\w\-]*)\(")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,<=]*)\]")
_REFERENCE = re.compile(r"%([\w.\-]+)")
_BARE_REFERENCE = re.compile(r"(?:^|[\s,])([A-Za-z_][\w.\-]*)(?=\s*(?:,|$))")
_COMMENT = re.compile(r"/\*.*?\*/")
_CALLED = re.compile(
    r"\b(?:calls|to_apply|body|condition|branch_computations|called_computations|true_computation"
    r"|false_computation)=(\{[^}]*\}|%?[\w.\-]+)"
)
_WORD = re.compile(r"[\w.\-]+")
_TRIP_COUNT = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_INDEX = r"\bindex=(\d+)"
_BITS = re.compile(r"[a-z]+(\d+)")

# Types without a number in their name.
_BITS_OF = {"pred": 8, "token": 0, "opaque": 0}

# What hands on its first operand as it is.
_COPIES = ("copy", "copy-start", "copy-done", "bitcast")

# Of this checkout or installation: sources below it are named relative to it.
_ROOT = pathlib.Path(__file__).parents[2]

# How far the producer of an instruction without a name in the source is looked for.
_FAR = 4


class ArrayType(NamedTuple):
    """The type of one array of a program, on one device."""

    dtype: str  # HLO's name: f32, bf16, s32, pred
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """The size without padding."""
        bits = _BITS_OF.get(self.dtype)
        if bits is None:
            match = _BITS.match(self.dtype)
            bits = int(match.group(1)) if match else 0
        return -(-math.prod(self.shape) * bits // 8)

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


def array_types(text: str) -> tuple[ArrayType, ...]:
    """Returns the arrays of an HLO shape, those of tuples in their order."""
    return tuple(
        ArrayType(dtype, tuple(int(size.lstrip("<=")) for size in sizes.split(",") if size))
        for dtype, sizes in _ARRAY.findall(text)
    )


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
        name: its name, without "%".
        shape: its result's type, as HLO writes it.
        opcode: such as "all-reduce".
        arguments: what stands in the parentheses.
        attributes: what stands behind them.
        is_root: its result is that of its computation.
    """

    name: str
    shape: str
    opcode: str
    arguments: str
    attributes: str
    is_root: bool

    @functools.cached_property
    def types(self) -> tuple[ArrayType, ...]:
        """The arrays of the result."""
        return array_types(self.shape)

    @functools.cached_property
    def operands(self) -> tuple[str, ...]:
        """The names of the instructions whose results it takes."""
        arguments = _COMMENT.sub("", self.arguments)
        pattern = _REFERENCE if "%" in arguments else _BARE_REFERENCE
        return tuple(pattern.findall(arguments))

    @functools.cached_property
    def called(self) -> tuple[str, ...]:
        """The computations that it calls."""
        return tuple(
            name for text in _CALLED.findall(self.attributes) for name in _WORD.findall(text)
        )

    @property
    def op_name(self) -> str:
        """The path of the JAX operation that it comes from; empty where there is none."""
        return self.attribute(r'\bop_name="((?:[^"\\]|\\.)*)"')

    @property
    def cycles(self) -> int | None:
        """The compiler's estimate for one run; None where it makes none."""
        match = _CYCLES.search(self.attributes)
        return int(match.group(1)) if match else None

    def attribute(self, pattern: str) -> str:
        """Returns the first group of a pattern in the attributes; empty where it is not there."""
        match = re.search(pattern, self.attributes)
        return match.group(1) if match else ""


class Loop(NamedTuple):
    """A while loop of a program."""

    name: str
    op_name: str
    source: str  # "file:line", or an empty text
    trip_count: int | None  # None where it depends on data
    cycles: int  # of one round, as far as the compiler estimates them; inner loops included


class Times(NamedTuple):
    """How often a computation runs in a step."""

    count: int  # with an unknown loop counted as one round
    in_loop: bool
    is_known: bool  # no loop around it is unknown


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled program of one device.

    Attributes:
        header: the module's own line.
        computations: the instructions of each by its name, in the order of the text.
        tables: the lines between the header and the first computation: files and stack frames.
    """

    header: str
    computations: dict[str, tuple[Instruction, ...]]
    tables: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads the text of a program; what is no computation is skipped."""
        header, tables = "", []
        computations: dict[str, list[Instruction]] = {}
        inside: list[Instruction] | None = None
        for line in text.splitlines():
            if line.startswith("HloModule"):
                header = line
            elif inside is None:
                if match := _HEADER.match(line):
                    inside = computations.setdefault(match.group(1), [])
                else:
                    tables.append(line)
            elif line.startswith("}"):
                inside = None
            elif instruction := _instruction(line):
                inside.append(instruction)
        return cls(header, {k: tuple(v) for k, v in computations.items()}, tuple(tables))

    @property
    def num_devices(self) -> int:
        """The devices that run it together."""
        counts = re.findall(r"\b(?:num_partitions|replica_count)=(\d+)", self.header)
        return math.prod(map(int, counts))

    @functools.cached_property
    def loops(self) -> tuple[Loop, ...]:
        """Its while loops."""
        return tuple(
            Loop(
                one.name,
                one.op_name,
                self.source(one),
                self.trip_count(computation, one),
                sum(map(self._cycles, one.called)),
            )
            for computation, one in self.walk()
            if one.opcode == "while"
        )

    def _cycles(self, computation: str) -> int:
        """Returns the estimates of one run of a computation, with what it calls."""
        total = 0
        for one in self.computations.get(computation, ()):
            if one.cycles is not None:
                total += one.cycles
            elif one.opcode != "fusion":
                rounds = self.trip_count(computation, one) if one.opcode == "while" else 1
                total += sum(map(self._cycles, one.called)) * (rounds or 1)
        return total

    def trip_count(self, computation: str, loop: Instruction) -> int | None:
        """Returns how often a while loop runs; None where that depends on data.

        The compilers of CPU and GPU write it down. A TPU's does not: there it is read from a loop
        that counts from a constant up to another, as `jax.lax.fori_loop` and `scan` do.
        """
        if match := _TRIP_COUNT.search(loop.attributes):
            return int(match.group(1))
        condition = loop.attribute(r"\bcondition=%?([\w.\-]+)")
        defined = self.definitions(condition)
        [root] = [one for one in defined.values() if one.is_root] or [loop]
        if root.opcode != "compare" or "direction=LT" not in root.attributes:
            return None
        counter, bound = (defined.get(name) for name in root.operands)
        index = counter.attribute(_INDEX) if counter else ""
        end = _constant(bound, defined)
        outer = self.definitions(computation)
        initial = outer.get(loop.operands[0])
        if end is None or not index or initial is None or initial.opcode != "tuple":
            return None
        start = _constant(outer.get(initial.operands[int(index)]), outer)
        return None if start is None else max(0, end - start)

    @functools.cached_property
    def times(self) -> dict[str, Times]:
        """How often each computation runs; one that nothing calls runs once."""
        callers: dict[str, list[tuple[str, Instruction]]] = collections.defaultdict(list)
        for name, body in self.computations.items():
            for one in body:
                for called in dict.fromkeys(one.called):
                    callers[called].append((name, one))
        found: dict[str, Times] = {}

        def visit(name: str) -> Times:
            if name not in found:
                ways = [
                    (
                        visit(caller),
                        one.opcode == "while",
                        self.trip_count(caller, one) if one.opcode == "while" else None,
                    )
                    for caller, one in callers[name]
                ]
                found[name] = Times(
                    sum(t.count * ((n or 1) if loop else 1) for t, loop, n in ways) or 1,
                    any(t.in_loop or loop for t, loop, _ in ways),
                    all(t.is_known and (not loop or n is not None) for t, loop, n in ways),
                )
            return found[name]

        # HLO knows no recursion; a computation stands before its callers, so this is not deep.
        for name in reversed(self.computations):
            visit(name)
        return found

    def walk(self) -> Iterator[tuple[str, Instruction]]:
        """Yields every instruction with the name of its computation."""
        for name, body in self.computations.items():
            for one in body:
                yield name, one

    def definitions(self, computation: str) -> dict[str, Instruction]:
        """Returns a computation's instructions by their names."""
        if computation not in self._definitions:
            body = self.computations.get(computation, ())
            self._definitions[computation] = {one.name: one for one in body}
        return self._definitions[computation]

    @functools.cached_property
    def _definitions(self) -> dict[str, dict[str, Instruction]]:
        return {}

    def origin(self, computation: str, instruction: Instruction) -> Instruction:
        """Returns the nearest producer that has a name in the source, itself first.

        The compiler's own concatenations, copies and fusions have none. Where no producer has one
        either, the instruction itself is returned.
        """
        defined = self.definitions(computation)
        level: Sequence[Instruction] = [instruction]
        for _ in range(_FAR):
            for one in level:
                if one.op_name:
                    return one
            for one in level:
                for called in one.called if one.opcode == "fusion" else ():
                    for inner in reversed(self.computations.get(called, ())):
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
        for line in self.tables:
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


def _constant(one: Instruction | None, defined: dict[str, Instruction]) -> int | None:
    """Returns the integer that an instruction is, through copies; None where it is none."""
    while one is not None and one.opcode in _COPIES and one.operands:
        one = defined.get(one.operands[0])
    if one is None or one.opcode != "constant" or not re.fullmatch(r"-?\d+", one.arguments):
        return None
    return int(one.arguments)


def _instruction(line: str) -> Instruction | None:
    start = _INSTRUCTION.match(line)
    if start is None:
        return None
    at = start.end()
    end = _closing(line, at) + 1 if line[at] == "(" else line.index(" ", at)
    opcode = _OPCODE.match(line, end)
    if opcode is None:
        return None
    close = _closing(line, opcode.end() - 1)
    return Instruction(
        name=start.group(2),
        shape=line[at:end],
        opcode=opcode.group(1),
        arguments=line[opcode.end() : close],
        attributes=line[close + 1 :],
        is_root=start.group(1) is not None,
    )


def _closing(text: str, opening: int) -> int:
    """Returns the place of the parenthesis that closes the one at `opening`."""
    depth = 0
    for match in re.compile(r"[()]").finditer(text, opening):
        depth += 1 if match.group() == "(" else -1
        if not depth:
            return match.start()
    return len(text)
