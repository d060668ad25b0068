"""The while loops of a compiled program, and how often a step runs each computation."""

import collections
import re
from typing import NamedTuple

from ssd_jax.compiled.hlo import Instruction, Program
from ssd_jax.compiled.origins import Origins

_TRIP_COUNT = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_INDEX = r"\bindex=(\d+)"

# What hands on its first operand as it is.
_COPIES = ("copy", "copy-start", "copy-done", "bitcast")


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


def find(program: Program) -> tuple[Loop, ...]:
    """Returns the while loops of a program."""
    origins = Origins(program)
    return tuple(
        Loop(
            one.name,
            one.op_name,
            origins.source(one),
            trip_count(program, computation, one),
            sum(_cycles(program, called) for called in one.called),
        )
        for computation, one in program.walk()
        if one.opcode == "while"
    )


def _cycles(program: Program, computation: str) -> int:
    """Returns the estimates of one run of a computation, with what it calls."""
    total = 0
    for one in program.computations.get(computation, ()):
        if one.cycles is not None:
            total += one.cycles
        elif one.opcode != "fusion":
            rounds = trip_count(program, computation, one) if one.opcode == "while" else 1
            total += sum(_cycles(program, called) for called in one.called) * (rounds or 1)
    return total


def trip_count(program: Program, computation: str, loop: Instruction) -> int | None:
    """Returns how often a while loop runs; None where that depends on data.

    The compilers of CPU and GPU write it down. A TPU's does not: there it is read from a loop
    that counts from a constant up to another, as `jax.lax.fori_loop` and `scan` do.
    """
    if match := _TRIP_COUNT.search(loop.attributes):
        return int(match.group(1))
    condition = loop.attribute(r"\bcondition=%?([\w.\-]+)")
    defined = program.definitions(condition)
    [root] = [one for one in defined.values() if one.is_root] or [loop]
    if root.opcode != "compare" or "direction=LT" not in root.attributes:
        return None
    counter, bound = (defined.get(name) for name in root.operands)
    index = counter.attribute(_INDEX) if counter else ""
    end = _constant(bound, defined)
    outer = program.definitions(computation)
    initial = outer.get(loop.operands[0])
    if end is None or not index or initial is None or initial.opcode != "tuple":
        return None
    start = _constant(outer.get(initial.operands[int(index)]), outer)
    return None if start is None else max(0, end - start)


def times(program: Program) -> dict[str, Times]:
    """Returns how often each computation runs; one that nothing calls runs once."""
    callers: dict[str, list[tuple[str, Instruction]]] = collections.defaultdict(list)
    for name, body in program.computations.items():
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
                    trip_count(program, caller, one) if one.opcode == "while" else None,
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
    for name in reversed(program.computations):
        visit(name)
    return found


def _constant(one: Instruction | None, defined: dict[str, Instruction]) -> int | None:
    """Returns the integer that an instruction is, through copies; None where it is none."""
    while one is not None and one.opcode in _COPIES and one.operands:
        one = defined.get(one.operands[0])
    if one is None or one.opcode != "constant" or not re.fullmatch(r"-?\d+", one.arguments):
        return None
    return int(one.arguments)
