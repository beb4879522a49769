# SPDX-License-Identifier: Apache-2.0
"""Says what Speck2f, Speck2e and the DYNAP-CNN devkit (SynSense) are: nine convolution cores, integrate-and-fire.

Weights have 8 bits, states 16. The limits are in `rules` and `limits`, the cores in `cores`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from spikefold.export.network import Network
from spikefold.export.passes.expand_kernels import expand_kernels
from spikefold.export.passes.square_kernels import square_kernels
from spikefold.hardware.board import Board, BoardRun, BoardTask, PowerMeter
from spikefold.hardware.chip import Chip, Lowered, NotRun, PublishedProfiles, Table, rules_of
from spikefold.hardware.event_engine import EventClips, EventFindings
from spikefold.hardware.speck.board.power import OFFSET_W, OUR_RAILS
from spikefold.hardware.speck.board.samna_probe import samna_status
from spikefold.hardware.speck.cores import CORES
from spikefold.hardware.speck.limits import NUMBERS, violations
from spikefold.hardware.speck.lowering.pools import or_neurons, pools_that_cores_have
from spikefold.hardware.speck.resources import resources
from spikefold.hardware.speck.rules import CORE_RULES, NETWORK_RULES
from spikefold.hardware.speck.split import split_to_fit

if TYPE_CHECKING:
    from spikefold.hardware.simulators.parity import Runner

__all__ = ["DYNAPCNN", "MEMORY", "NUMBERS", "SPECK2E", "SPECK2F", "violations"]

MEMORY = Table(
    "memory of the cores, in words",
    ("core", "kernel (8 bit)", "neuron (16 bit)", "bias (16 bit)"),
    tuple((str(number), str(core.kernel), str(core.neuron), str(core.bias)) for number, core in enumerate(CORES)),
)


def _lower(device: str, real: Network, integer: Network, folder: Path) -> Lowered:
    from spikefold.hardware.speck.lowering.lower import lower

    return lower(device, real, integer, folder)


def _simulator(real: Network, integer: Network) -> Runner:
    from spikefold.hardware.speck.lowering.lower import simulator

    return simulator(real)


def _by_events(network: Network, clips: EventClips) -> EventFindings:
    from spikefold.hardware.speck.event_engine import run_by_events

    return run_by_events(network, clips)


def _missing(target: str) -> str | None:
    from spikefold.hardware.speck.board.device import device_status

    return device_status(target)


def _run_on_board(task: BoardTask) -> BoardRun:
    from spikefold.hardware.speck.board.evidence import run_task

    return run_task(task)


def _not_run(title: str, board: str) -> tuple[NotRun, ...]:
    from spikefold.hardware.speck.board.evidence import not_run

    return not_run(title, board)


def _environment() -> Mapping[str, str]:
    return {"samna": samna_status()}


def _boards(*names: str) -> tuple[Board, ...]:
    meter = PowerMeter(OUR_RAILS, OFFSET_W)
    return tuple(Board(name, _missing, _run_on_board, meter) for name in names)


# a core has one threshold, so a factor per neuron has no place; one per channel goes into the weights
_CORES = Chip(
    "dynapcnndevkit",
    "SynSense DYNAP-CNN devkit",
    NUMBERS,
    violations,
    gate_forms=("channel", "mask"),
    rules=rules_of(*NETWORK_RULES, *CORE_RULES),
    memory=MEMORY,
    resources=resources,
    rewrites=(
        pools_that_cores_have,
        or_neurons,
        expand_kernels,
        square_kernels,
    ),
    laid_out=split_to_fit,
    event_driven=True,
    event_engine=_by_events,
)
# the chip before Speck, with the same table in sinabs 2.0.3; no release of sinabs since 3.0 writes its files. It was
# made in another process: only its cores are alike, and no published number of Speck is one of it
DYNAPCNN = _CORES
SPECK2F = replace(
    _CORES,
    name="speck2f",
    title="SynSense Speck2f",
    lower=partial(_lower, "speck2fdevkit"),
    vendor_simulator=_simulator,
    published=PublishedProfiles("speck"),
    boards=_boards("speck2fdevkit", "speck2fmodule"),
    not_run=partial(_not_run, "Speck2f", "speck2fdevkit"),
    environment=_environment,
)
# the same cores and limits (datasheet 3.2.4.1; one table in sinabs); sinabs fills in another class of samna's
SPECK2E = replace(
    SPECK2F,
    name="speck2e",
    title="SynSense Speck2e",
    lower=partial(_lower, "speck2edevkit"),
    boards=_boards("speck2edevkit", "speck2e"),
    not_run=partial(_not_run, "Speck2e", "speck2edevkit"),
)
