"""A compiled step's figures as Markdown."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from ssd_jax.compiled.scaling import LEAST_EFFICIENCY, Scaled
from ssd_jax.compiled.summary import BATCH_NORM, GRADIENTS

NOT_MEASURED = (
    "This is a compiler's model, not a measurement: nothing ran. It leaves out the input from the "
    "host, how long an instruction waits for another, and slow hosts."
)

_CYCLES_NOTE = (
    "A fused computation counts as what its result is. A loop counts as often as it is known to "
    "run, and one that depends on data once."
)

_STEPS = {"train": "training", "detect": "detection"}


def markdown(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a Markdown table: its first column stands left, the others right."""
    lines = [list(map(str, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *lines, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width if not i else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join([line(headings), line(rule), *map(line, lines)]) + "\n"


def size(number: float | None, unit: str = "B") -> str:
    """Returns a number with a decimal prefix, such as "3.84 GB"."""
    if number is None:
        return "-"
    value = float(number)
    for prefix in ("", "k", "M", "G"):
        if abs(value) < 1000:
            return f"{value:.3g} {prefix}{unit}"
        value /= 1000
    return f"{value:.4g} T{unit}"


def report(summary: dict[str, Any]) -> str:
    """Returns everything that `summary.summarize` found, as a page."""
    kind = _STEPS[summary["step_kind"]]
    parts = [
        f"# {summary['config']}: {kind} on {summary['topology']}\n",
        NOT_MEASURED + "\n",
        markdown(("of one device", "value"), _figures(summary)),
    ]
    step = summary["step"]
    if step:
        parts += ["## Cycles by part\n", _cycles(step), _CYCLES_NOTE + "\n"]
        if missing := step["without_estimate"]:
            names = ", ".join(f"{count} {name}" for name, count in missing.items())
            parts.append(f"The compiler gives no estimate, and 0 is counted, for: {names}.\n")
    parts += ["## Collectives\n", _collectives(summary["collectives"])]
    if summary["loops"]:
        parts += ["## Loops\n", _loops(summary)]
    return "\n".join(parts)


ROW_HEADINGS = (
    "memory, GB",
    "fits",
    "TFLOP",
    "M cycles",
    "ms",
    "images/s",
    "of peak",
    "gradients",
    "BatchNorm",
    "other",
    "in loops",
)


def row(summary: dict[str, Any]) -> tuple[str, ...]:
    """Returns a step in a line, under ROW_HEADINGS: of one device, and its collectives."""
    memory, step, groups = summary["memory"], summary["step"], summary["collectives"]
    named = {GRADIENTS: _counted(groups, GRADIENTS), BATCH_NORM: _counted(groups, BATCH_NORM)}
    others = [one for one in groups if one["carries"] not in named]
    figures = ("-",) * 4
    if step:
        seconds = step["computation_seconds"] + step["collective_seconds"]
        figures = (
            f"{step['cycles'] / 1e6:.1f}",
            f"{1e3 * seconds:.1f}",
            f"{step['images_per_second_per_chip']:.0f}",
            f"{step['share_of_peak']:.0%}",
        )
    return (
        f"{memory['total'] / 1e9:.2f}",
        {True: "yes", False: "no", None: "-"}[memory["fits"]],
        f"{summary['flops'] / 1e12:.2f}" if summary["flops"] else "-",
        *figures,
        *named.values(),
        _counted(others),
        str(sum(one["count"] for one in groups if one["in_loop"])),
    )


def _counted(groups: list[dict[str, Any]], carries: str | None = None) -> str:
    """Returns, such as "3 x f32, 105 MB", the collectives that carry something."""
    chosen = [one for one in groups if carries in (None, one["carries"])]
    if not chosen:
        return "0"
    types = "+".join(dict.fromkeys(one["dtype"] for one in chosen))
    count = sum(one["count"] for one in chosen)
    return f"{count} x {types}, {size(sum(one['bytes'] for one in chosen))}"


def fits(memory: dict[str, Any]) -> str:
    """Returns the memory that a step takes, and whether the chip has it."""
    if memory["fits"] is None:
        return size(memory["total"])
    answer = "fits" if memory["fits"] else "does not fit"
    return f"{size(memory['total'])} of {size(memory['capacity'])}: {answer}"


def _figures(summary: dict[str, Any]) -> list[tuple[str, str]]:
    memory, step = summary["memory"], summary["step"]
    rows = [
        ("devices", str(summary["devices"])),
        ("images", str(summary["images_per_device"])),
        ("type of the network", summary["dtype"]),
        ("compiler", f"{summary['compiler']}, jax {summary['jax']}"),
        ("memory", fits(memory)),
        ("arguments", size(memory["arguments"])),
        ("temporaries", size(memory["temporaries"])),
        ("operations", size(summary["flops"], "FLOP")),
        ("bytes read and written", size(summary["bytes_accessed"])),
    ]
    if step:
        seconds = step["computation_seconds"]
        rows += [
            ("cycles", f"{step['cycles'] / 1e6:.1f} M at {step['clock_hz'] / 1e9:.2f} GHz"),
            ("computation", f"{1e3 * seconds:.2f} ms"),
            ("collectives, by the links", f"{1e3 * step['collective_seconds']:.2f} ms"),
            ("images a second", f"{step['images_per_second_per_chip']:.0f}"),
            ("share of the bfloat16 peak", f"{step['share_of_peak']:.0%}"),
        ]
    return rows


def _cycles(step: dict[str, Any]) -> str:
    total = max(1, step["cycles"])
    rows = [
        (
            part["name"],
            f"{part['forward'] / 1e6:.2f}",
            f"{part['backward'] / 1e6:.2f}",
            f"{(part['forward'] + part['backward']) / total:.1%}",
        )
        for part in step["parts"]
    ]
    return markdown(("part", "forward, M", "backward, M", "share"), rows)


def _collectives(groups: list[dict[str, Any]]) -> str:
    if not groups:
        return "None: no device waits for another.\n"
    rows = [
        (
            f"{one['operation']} of {one['carries']}",
            one["dtype"],
            one["count"],
            size(one["bytes"]),
            one["group_size"],
            one["asynchronous"],
            "yes" if one["in_loop"] else "no",
        )
        for one in groups
    ]
    headings = ("collective", "type", "count", "bytes", "devices", "asynchronous", "in a loop")
    return markdown(headings, rows)


def _loops(summary: dict[str, Any]) -> str:
    clock = summary["step"]["clock_hz"] if summary["step"] else 0.0
    rows = []
    for loop in summary["loops"]:
        count = loop["trip_count"]
        rounds = "depends on data" if count is None else str(count)
        time = f"{1e3 * loop['cycles'] / clock:.3f} ms" if clock else "-"
        rows.append((loop["source"] or loop["op_name"] or loop["name"], rounds, time))
    return markdown(("loop", "rounds", "a round"), rows)


def scaling_table(rows: Sequence[Scaled], images_per_chip: int, breaks_at: int | None) -> str:
    """Returns the expected steps on more chips, and where they become inefficient."""
    lines = [
        (
            row.chips,
            f"{1e3 * row.seconds:.2f}",
            f"{1e3 * row.waiting:.3f}",
            f"{row.efficiency:.1%}",
            f"{row.chips * images_per_chip / row.seconds:,.0f}",
            math.ceil(row.least_share * images_per_chip),
        )
        for row in rows
    ]
    headings = (
        "chips",
        "step, ms",
        "collectives, ms",
        "efficiency",
        "images a second",
        f"images a chip for {LEAST_EFFICIENCY:.0%}",
    )
    where = (
        "at no number of chips up to 16384" if breaks_at is None else f"from {breaks_at} chips on"
    )
    return (
        markdown(headings, lines)
        + f"\nThe efficiency is below {LEAST_EFFICIENCY:.0%} {where}. See "
        "`ssd_jax/compiled/scaling.py` for the assumptions.\n"
    )
