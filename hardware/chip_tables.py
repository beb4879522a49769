# SPDX-License-Identifier: Apache-2.0
"""Lays out what ``spikefold chips`` shows of a chip, as tables of text: its rules, its integers, its cores' memory.

Nothing is written here by hand that the checks do not use: the rules are the docstrings of the functions that check
them (`spikefold.hardware.chip.rules_of`), the integers are the chip's `NumberFormat`, the memory is its core table.
"""

from __future__ import annotations

from collections.abc import Iterable

from spikefold.export.numbers import NumberFormat
from spikefold.hardware.chip import Chip, Table


def overview(chips: Iterable[Chip]) -> Table:
    """One row a chip: name, title, bits of a weight and of a state, gate forms, cores to place layers on, files."""
    columns = ("chip", "title", "weight bits", "state bits", "gate forms", "cores", "files")
    rows = (
        (
            chip.name,
            chip.title,
            str(chip.numbers.weight_bits),
            str(chip.numbers.state_bits),
            ", ".join(chip.gate_forms) or "none",
            str(len(chip.memory.rows)) if chip.memory else "not placed",
            "none" if chip.lower is None else "written",
        )
        for chip in chips
    )
    return Table("chips", columns, tuple(rows))


def details(chip: Chip) -> list[Table]:
    """Every rule of the chip, its integers, and its memory where layers are placed on cores."""
    rules = tuple((rule.name, rule.text) for rule in chip.rules)
    tables = [
        Table(f"rules of {chip.name} ({chip.title})", ("rule", "what a network must keep"), rules),
        Table(
            "numbers that the quantiser aims at, in units of a weight",
            ("number", "range"),
            tuple(_numbers(chip.numbers)),
        ),
    ]
    return [*tables, chip.memory] if chip.memory else tables


def markdown(tables: Iterable[Table]) -> str:
    """Tables as Markdown, a heading each; rows that explain themselves become a list."""
    parts = []
    for table in tables:
        lines = [f"## {table.title[0].upper()}{table.title[1:]}", ""]
        if table.columns:
            lines += [_row(table.columns), _row(["---"] * len(table.columns))]
            lines += [_row(row) for row in table.rows]
        else:
            lines += [f"- {' '.join(row)}" for row in table.rows]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def supported(chips: Iterable[Chip]) -> str:
    """The whole of ``SUPPORTED.md``: every chip, and what a network must keep there."""
    known = list(chips)
    said = (
        "# Supported chips\n\n"
        "Written by `spikefold chips --markdown`; a test keeps this file equal to what the checks say. The rules are "
        "the\ndocstrings of the functions that check them.\n"
    )
    return "\n".join([said, markdown([overview(known), *(table for chip in known for table in details(chip))])])


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _numbers(numbers: NumberFormat) -> Iterable[tuple[str, str]]:
    yield "weight", _signed(numbers.weight_bits)
    yield "bias", "none" if numbers.bias_bits is None else _signed(numbers.bias_bits)
    yield "threshold", f"at most {numbers.threshold_max}"
    yield "state", f"{numbers.state_bits} bits, unit 1/{2**numbers.state_shift}, overflow: {numbers.overflow.value}"
    yield "lower bound of the state", "none" if numbers.v_min is None else str(numbers.v_min)
    leak = "none" if numbers.leak_shift is None else f"keep / 2^{numbers.leak_shift}"
    yield "leak", leak
    current = (
        "none: an input acts in one step" if numbers.current_shift is None else f"keep / 2^{numbers.current_shift}"
    )
    yield "synaptic current", current
    if numbers.lasting_bias_bits is not None:
        yield "bias beside a synaptic current", _signed(numbers.lasting_bias_bits)
    if numbers.leak_shift is not None:
        yield "a leaky neuron fires where", f"state {numbers.fire_leaky.value} threshold"
    yield "reset", ", ".join(sorted(reset.value for reset in numbers.resets))
    most = numbers.max_spikes
    yield "spikes of a neuron in a step", "any number" if most is None else f"at most {most}"
    if numbers.sum_max is not None:
        yield "sum of a neuron's input in a step", f"at most {numbers.sum_max}"


def _signed(bits: int) -> str:
    return f"{bits} bits: {-(2 ** (bits - 1))} to {2 ** (bits - 1) - 1}"
