# SPDX-License-Identifier: Apache-2.0
"""Runs an exported network on a Speck board and says whether the board is evidence for what was simulated."""

from __future__ import annotations

import json
from typing import Any

from spikefold.errors import ConfigError, DataError
from spikefold.hardware.board import BoardRun, BoardTask, split_target
from spikefold.hardware.chip import NotRun
from spikefold.hardware.speck.board.clips import events_of
from spikefold.hardware.speck.board.compare import Agreement
from spikefold.hardware.speck.board.options import DeviceOptions
from spikefold.hardware.speck.board.run import run_on_device
from spikefold.hardware.speck.board.samna_probe import why_not
from spikefold.hardware.speck.lowering.lower import CONFIGURATION

_GOOD = (Agreement.IDENTICAL, Agreement.CHIP_NOISE, Agreement.SIMULATOR_GAP)
"""What two chips, or the simulator and a chip, are known to differ by; worse than that is no evidence."""


def run_task(task: BoardTask) -> BoardRun:
    """Run the clips of a task on its board, beside the event-driven simulator.

    Raises:
        ConfigError: the exported configuration was made for another board.
        DataError: the exported configuration is missing or damaged, or clips cannot be sent.
        SpikefoldError: as `run_on_device`.
    """
    document = _document(task)
    events = [events_of(task.frames[:, clip], task.network.input.dt_us) for clip in range(task.frames.shape[1])]
    found = run_on_device(
        task.target,
        document["configuration"],
        task.network,
        document["layer2core"],
        events,
        DeviceOptions(repeats=task.repeats),
        progress=task.progress,
    )
    replayed_us = tuple(int(clip["t"][-1] - clip["t"][0]) for clip in events)
    agrees = found.agreement in _GOOD and not found.problems
    return BoardRun(found.to_json(), found.describe(), agrees, found.repeats, replayed_us)


def not_run(title: str, board: str) -> tuple[NotRun, ...]:
    """What a report says where no board was asked."""
    why = f"{why_not() or 'samna is installed'}; `spikefold validate --on {board}:0` asks for a board"
    return (NotRun(f"{title} devkit", why),)


def _document(task: BoardTask) -> Any:
    path = task.exported / CONFIGURATION
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        device, *_ = (document[key] for key in ("device", "configuration", "layer2core"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"cannot read {path.name}: {error!r}", where=str(path), hint="run `spikefold export` again"
        ) from error
    if device != split_target(task.target)[0]:
        raise ConfigError(
            f"the configuration was made for {device}", where=str(path), hint=f"validate --on {device}:0"
        )
    return document
