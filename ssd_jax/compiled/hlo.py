"""The text of a compiled program (HLO), as computations of instructions.

`jax.stages.Compiled.as_text()` gives that text on every platform. Only what a reader of programs
asks for is parsed: names, shapes, operands, the computations that are called, and where an
instruction comes from.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator
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
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_BITS = re.compile(r"[a-z]+(\d+)")

# Types without a number in their name.
_BITS_OF = {"pred": 8, "token": 0, "opaque": 0}


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
