# SPDX-License-Identifier: Apache-2.0
"""Defines `Board`: how a chip's contract says that a network can be run on hardware, and what comes back of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spikefold.errors import ConfigError
from spikefold.export.network import Network
from spikefold.hardware.simulators.trace import Trace


@dataclass(frozen=True, eq=False)
class BoardTask:
    """What a board is asked to run.

    Attributes:
        target: type and index of the board, such as ``NAME:0``.
        exported: the chip's exported folder, with the files that `Chip.lower` wrote.
        network: the integer network in the form in which the chip runs it.
        frames: event counts of the clips, ``(T, N, C, H, W)``.
        repeats: how often each clip is run.
        progress: told what happens, one sentence a call.
    """

    target: str
    exported: Path
    network: Network
    frames: np.ndarray
    repeats: int
    progress: Callable[[str], None]


@dataclass(frozen=True, eq=False)
class BoardRun:
    """What a board did.

    Attributes:
        content: the evidence as plain values, for ``board.json``; under ``notes`` what to know to read it.
        summary: one line for people.
        agrees: whether it is evidence that the board does what was simulated.
        repeats: the board's own spikes of the monitored layers, one trace a repeat.
        replayed_us: for each clip how long its events were sent in one repeat, in microseconds.
    """

    content: Mapping[str, Any]
    summary: str
    agrees: bool
    repeats: tuple[Trace, ...]
    replayed_us: tuple[int, ...]


@dataclass(frozen=True)
class PowerMeter:
    """The power monitor of a board.

    Attributes:
        rails: by the monitor's name of a supply rail ours: io, ram, logic, pixel_digital or pixel_analog.
        offset_w: largest constant error of one rail, either way, in watts.
    """

    rails: Mapping[str, str]
    offset_w: float


@dataclass(frozen=True)
class Board:
    """One type of board that carries a chip.

    Attributes:
        name: as written on the command line before the colon and the index.
        missing: for a target why nothing can run on it, in one clause; None where the board is there. Raises
            ConfigError where the index is none.
        run: runs a task. It raises ConfigError where the exported files are of another board, DataError for clips
            that cannot be sent, EnvironmentLacksError where the board or its driver fails.
        meter: its power monitor; None where it has none.
    """

    name: str
    missing: Callable[[str], str | None]
    run: Callable[[BoardTask], BoardRun]
    meter: PowerMeter | None = field(default=None, hash=False)


def split_target(target: str) -> tuple[str, int]:
    """Type and index of a board from ``NAME:INDEX``; without an index the first one.

    Raises:
        ConfigError: what is behind the colon is no index.
    """
    name, colon, index = target.partition(":")
    if colon and not (index.isascii() and index.isdecimal()):
        raise ConfigError(f"{index!r} is no index of a board", where=target, hint=f"write {name}:0 for the first one")
    return name, int(index or 0)
