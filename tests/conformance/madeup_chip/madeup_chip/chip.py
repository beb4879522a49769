# SPDX-License-Identifier: Apache-2.0
"""The made-up chip: 4-bit weights, no bias, reset to zero, at most three spikes a step; and it without its tools."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from madeup_chip.rules import NUMBERS, RULES, resources, violations
from madeup_chip.simulator import simulate, text_of
from spikefold.export.network import Network
from spikefold.hardware.board import Board, BoardRun, BoardTask, split_target
from spikefold.hardware.chip import Chip, Lowered, NotRun, PublishedProfiles, rules_of
from spikefold.hardware.simulators.parity import Runner

FILE = "madeup.json"
BOARD = "madeup-desk"


def lower(real: Network, integer: Network, folder: Path) -> Lowered:
    (folder / FILE).write_text(text_of(integer), encoding="utf-8")
    return Lowered((FILE,), ("nobody built this chip",))


def vendor_simulator(real: Network, integer: Network) -> Runner:
    return partial(simulate, text_of(integer))


def missing(target: str) -> str | None:
    return None if split_target(target)[1] == 0 else "there is one desk only"


def run_on_board(task: BoardTask) -> BoardRun:
    """The desk runs the exported file as the simulator does."""
    text = (task.exported / FILE).read_text(encoding="utf-8")
    traces = tuple(simulate(text, task.frames) for _ in range(task.repeats))
    content = {"target": task.target, "agreement": "identical", "spikes": traces[0].spikes}
    length = task.network.input.steps * task.network.input.dt_us
    return BoardRun(content, f"{task.target} agrees", True, traces, (length,) * task.frames.shape[1])


def not_run() -> tuple[NotRun, ...]:
    return (NotRun("made-up silicon", "nobody built it"),)


MADEUP = Chip(
    "madeup",
    "Made-up M4",
    NUMBERS,
    violations,
    gate_forms=("channel", "mask"),
    rules=rules_of(*RULES),
    resources=resources,
    lower=lower,
    vendor_simulator=vendor_simulator,
    published=PublishedProfiles(str(Path(__file__).with_name("madeup.toml"))),
    boards=(Board(BOARD, missing, run_on_board),),
    not_run=not_run,
    environment=lambda: {"madeup": "on the desk"},
)
BARE = replace(
    MADEUP,
    name="madeup-bare",
    title="Made-up M4 without its tools",
    vendor_simulator=None,
    published=PublishedProfiles(),
    boards=(),
    not_run=None,
    environment=None,
)
