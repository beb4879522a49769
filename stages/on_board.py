# SPDX-License-Identifier: Apache-2.0
"""``spikefold validate --on``: an exported run on a board, held against the event-driven simulator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spikefold.energy.counts.count import count
from spikefold.errors import ConfigError, EnvironmentLacksError, MismatchError
from spikefold.export.network import Network
from spikefold.hardware.simulators.trace import Trace
from spikefold.hardware.speck.board.clips import events_of
from spikefold.hardware.speck.board.compare import Agreement
from spikefold.hardware.speck.board.device import device_status, parse_target
from spikefold.hardware.speck.board.options import Clock, DeviceOptions
from spikefold.hardware.speck.board.run import run_on_device
from spikefold.hardware.targets import CONFIGURATION
from spikefold.session import BOARD, Session
from spikefold.stage_table import EXPORT, VALIDATE
from spikefold.stages.chip_files import network_on_chip
from spikefold.stages.files.base import read_form
from spikefold.stages.files.board import BoardFile
from spikefold.stages.files.configuration import ConfigurationForm
from spikefold.stages.files.networks import network_of_run
from spikefold.stages.validate import validate_stage

_GOOD = (Agreement.IDENTICAL, Agreement.CHIP_NOISE, Agreement.SIMULATOR_GAP)


def validate_on(
    session: Session, target: str, clips: int, repeats: int, samna: Any = None, clock: Clock | None = None
) -> dict[str, Any]:
    """Run test clips on a board, write ``6_validate/board.json``, and say how the board did.

    Args:
        session: an exported run.
        target: board type and index, such as ``speck2fdevkit:0``.
        clips: how many test clips.
        repeats: how often.
        samna: the module; the real one is loaded where none is given.
        clock: where waiting is done.

    Raises:
        ConfigError: the target is no board, or the run was not exported for its chip.
        EnvironmentLacksError: NOT RUN, with what is missing; that is written down too.
        MismatchError: after the evidence was written: the board is beyond the published gap, or had problems.
    """
    kind, _ = parse_target(target)
    chip = next((name for name in session.config.chips.names if kind.startswith(name)), None)
    if chip is None:
        raise ConfigError(
            f"this run has no network for {kind}, but for {', '.join(session.config.chips.names)}",
            where=str(session.folder),
            hint="fold and export it for that chip first",
        )
    exported = session.path(EXPORT) / chip
    document = read_form(ConfigurationForm, exported / CONFIGURATION, EXPORT.command(session.folder))
    if document.device != kind:
        raise ConfigError(
            f"the configuration was made for {document.device}",
            where=str(exported / CONFIGURATION),
            hint=f"validate --on {document.device}:0",
        )
    if not (session.folder / VALIDATE.folder).is_dir():
        validate_stage(session)
    folder = session.path(VALIDATE)
    if (missing := device_status(target, samna)) is not None:
        _keep(folder, {"target": target, "not_run": missing})
        raise EnvironmentLacksError(
            f"NOT RUN on {target}: {missing}", where=target, hint="connect a board and install the vendor's samna"
        )
    network = network_of_run(session, EXPORT, f"{chip}/{network_on_chip(exported).name}")
    frames = session.clips("test").first(clips).frames
    events = [events_of(frames[:, clip], network.input.dt_us) for clip in range(frames.shape[1])]
    found = run_on_device(
        target,
        document.configuration,
        network,
        document.layer2core,
        events,
        DeviceOptions(repeats=repeats),
        samna=samna,
        clock=clock,
        progress=session.reporter.line,
    )
    content = found.to_json() | {"describe": found.describe(), **_activity(network, frames, events, found.repeats)}
    _keep(folder, content)
    session.reporter.line(found.describe())
    if found.agreement not in _GOOD or found.problems:
        raise MismatchError(
            found.describe(), where=str(folder / BOARD), hint="each layer, repeat and problem is there"
        )
    return content


def _activity(
    network: Network, frames: np.ndarray, clips: Sequence[np.ndarray], repeats: Sequence[Trace]
) -> dict[str, list[int]]:
    """What `spikefold energy calibrate` sets the power against, for each clip over its repeats.

    ``synops`` are counted from the board's own spikes; ``replayed_us`` lasts from the first event of the clip to its
    last, which is when its power was sampled.
    """
    synops = sum(count(network, frames, trace).by_clip("events") for trace in repeats)
    replayed_us = [int(clip["t"][-1] - clip["t"][0]) * len(repeats) for clip in clips]
    return {"synops": np.asarray(synops).tolist(), "replayed_us": replayed_us}


def _keep(folder: Path, content: dict[str, Any]) -> None:
    BoardFile.of(content).write(folder)
