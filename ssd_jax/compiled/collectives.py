"""The collectives of a compiled program: which, how large, of what, and whether inside a loop."""

import dataclasses
import math
import re

from ssd_jax.compiled import loops
from ssd_jax.compiled.hlo import ArrayType, Instruction, Program
from ssd_jax.compiled.origins import Origins

OPERATIONS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)

_GROUPS = re.compile(r"replica_groups=\{(\{[^{}]*\})")
_IOTA_GROUPS = re.compile(r"replica_groups=\[([\d,]+)\]<=")
_MESH_GROUPS = re.compile(r"replica_groups=@?mesh\w*\[([^\]]*)\]\s*\{([^{}]*)\}")
_AXIS = re.compile(r"'([^']*)'=(\d+)")
_MESH_AXIS = re.compile(r"'([^']*)'(?::\(\d+\)(\d+))?")
_PAIRS = re.compile(r"source_target_pairs=\{((?:\{\d+,\d+\},?)*)\}")


@dataclasses.dataclass(frozen=True)
class Carried:
    """One array that a collective carries.

    Attributes:
        type: its type.
        op_name: the path of the JAX operation that made it; empty where the program has none.
        source: that operation's "file:line", or an empty text.
    """

    type: ArrayType
    op_name: str
    source: str


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective of a program; a start and its done are one.

    Attributes:
        name: of the instruction.
        operation: one of OPERATIONS.
        is_async: other work may run while it does.
        carried: what each device gives to it.
        group_size: the devices that take part together.
        in_loop: it is in the body or the condition of a while loop, at any depth.
        times: how often a step runs it; None where the compiler does not know.
        op_name: the path of the JAX operation, such as "jit(step)/while/body/psum".
        source: that operation's "file:line", or an empty text.
    """

    name: str
    operation: str
    is_async: bool
    carried: tuple[Carried, ...]
    group_size: int
    in_loop: bool
    times: int | None
    op_name: str
    source: str

    @property
    def dtype(self) -> str:
        """The types of the elements, as HLO names them, joined by "+" where they differ."""
        return "+".join(dict.fromkeys(one.type.dtype for one in self.carried))

    @property
    def shape(self) -> str:
        """The shapes of the arrays, such as "f32[64], f32[]"."""
        return ", ".join(str(one.type) for one in self.carried)

    @property
    def bytes(self) -> int:
        """The bytes of the whole value, once.

        What is reduced, exchanged or sent has as many bytes as a device gives; what is gathered
        has as many as all devices of a group give.
        """
        given = sum(one.type.bytes for one in self.carried)
        return given * self.group_size if self.operation == "all-gather" else given

    @property
    def origin(self) -> str:
        """The JAX operation and its line: what the collective is for."""
        return f"{self.op_name} ({self.source})" if self.source else self.op_name


def find(compiled_text: str) -> list[Collective]:
    """Returns the collectives of a program that `Compiled.as_text()` wrote."""
    return of_program(Program.parse(compiled_text))


def of_program(program: Program) -> list[Collective]:
    """Returns the collectives of a program that was read already.

    An asynchronous form that wraps one (async-start and async-done) names the computation with the
    collective itself, so that it is counted there, once. A collective of one device moves nothing
    and is left out.
    """
    found = []
    origins, all_times = Origins(program), loops.times(program)
    starts = (one for _, one in program.walk() if one.opcode == "async-start")
    wrapped = {called for one in starts for called in one.called}
    for computation, one in program.walk():
        operation = one.opcode.removesuffix("-start")
        if operation not in OPERATIONS:
            continue
        group_size = _group_size(one, program.num_devices)
        if group_size == 1:
            continue
        times = all_times[computation]
        origin = origins.of(computation, one)
        found.append(
            Collective(
                name=one.name,
                operation=operation,
                is_async=(one.opcode != operation or computation in wrapped)
                and '"is_sync":true' not in one.attributes,
                carried=_carried(origins, computation, one),
                group_size=group_size,
                in_loop=times.in_loop,
                times=times.count if times.is_known else None,
                op_name=origin.op_name,
                source=origins.source(origin),
            )
        )
    return found


def _carried(origins: Origins, computation: str, one: Instruction) -> tuple[Carried, ...]:
    defined = origins.program.definitions(computation)
    found = []
    for operand in _pieces([defined[name] for name in one.operands if name in defined], defined):
        maker = origins.of(computation, operand)
        for kind in operand.types:
            found.append(Carried(kind, maker.op_name, origins.source(maker)))
    return tuple(found)


def _pieces(operands: list[Instruction], defined: dict[str, Instruction]) -> list[Instruction]:
    """Returns what operands were joined from, where a compiler made one array of several.

    Its own concatenation has no name in the source, and the bytes of all that it takes.
    """
    found = []
    for operand in operands:
        parts = [defined[name] for name in operand.operands if name in defined]
        is_joined = not operand.op_name and operand.opcode in ("fusion", "concatenate", "bitcast")
        if is_joined and parts and _bytes(parts) == _bytes([operand]):
            found += _pieces(parts, defined)
        else:
            found.append(operand)
    return found


def _bytes(instructions: list[Instruction]) -> int:
    return sum(array.bytes for one in instructions for array in one.types)


def _group_size(one: Instruction, num_devices: int) -> int:
    """Returns the devices of a group, from any of the four ways in which HLO writes groups."""
    text = one.attributes
    if match := _GROUPS.search(text):
        return match.group(1).count(",") + 1
    if match := _IOTA_GROUPS.search(text):
        return int(match.group(1).split(",")[-1])
    if match := _MESH_GROUPS.search(text):
        sizes = {axis: int(size) for axis, size in _AXIS.findall(match.group(1))}
        axes = _MESH_AXIS.findall(match.group(2))
        return math.prod(int(part) if part else sizes[axis] for axis, part in axes)
    if match := _PAIRS.search(text):
        return len(set(re.findall(r"\d+", match.group(1))))
    return num_devices
