# SPDX-License-Identifier: Apache-2.0
"""``spikefold validate --on``: an exported run on a board, held against the event-driven simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from spikefold.energy.chip.board_track import measured_tracks
from spikefold.energy.counts.count import count
from spikefold.errors import ConfigError, EnvironmentLacksError, MismatchError
from spikefold.export.network import Network
from spikefold.hardware.board import BoardRun, BoardTask
from spikefold.hardware.registry import board_of
from spikefold.session import BOARD, Session
from spikefold.stage_table import EXPORT, VALIDATE
from spikefold.stages.chip_files import network_on_chip
from spikefold.stages.files.board import BoardFile
from spikefold.stages.files.networks import network_of_run
from spikefold.stages.validate import validate_stage


def validate_on(session: Session, target: str, clips: int, repeats: int) -> dict[str, Any]:
    """Run test clips on a board, write ``6_validate/board.json``, and say how the board did.

    Args:
        session: an exported run.
        target: board type and index, such as ``speck2fdevkit:0``.
        clips: how many test clips.
        repeats: how often.

    Raises:
        ConfigError: the target is no board, or the run was not exported for it.
        EnvironmentLacksError: NOT RUN, with what is missing; that is written down too.
        MismatchError: after the evidence was written: the board is beyond the published gap, or had problems.
    """
    chip, board = board_of(target)
    if chip.name not in session.config.chips.names:
        raise ConfigError(
            f"this run has no network for {board.name}, but for {', '.join(session.config.chips.names)}",
            where=str(session.folder),
            hint=f"fold and export it for {chip.name} first",
        )
    exported = session.path(EXPORT) / chip.name
    if not (session.folder / VALIDATE.folder).is_dir():
        validate_stage(session)
    folder = session.path(VALIDATE)
    if (missing := board.missing(target)) is not None:
        _keep(folder, {"target": target, "not_run": missing})
        raise EnvironmentLacksError(
            f"NOT RUN on {target}: {missing}", where=target, hint="connect a board and install its vendor's driver"
        )
    network = network_of_run(session, EXPORT, f"{chip.name}/{network_on_chip(exported).name}")
    frames = session.first_clips("test", clips).frames
    found = board.run(BoardTask(target, exported, network, frames, repeats, session.reporter.line))
    evidence = {"target": target, "notes": [], **found.content}
    tracks = measured_tracks(target, evidence.get("power") or (), board.meter, found.replayed_us)
    content = {
        **evidence,
        "describe": found.summary,
        **_activity(network, frames, found),
        "system_track": [track.to_json() for track in tracks],
    }
    _keep(folder, content)
    session.reporter.line(found.summary)
    for track in tracks:
        session.reporter.line(track.describe())
    if not found.agrees:
        raise MismatchError(found.summary, where=str(folder / BOARD), hint="each layer, repeat and problem is there")
    return content


def _activity(network: Network, frames: np.ndarray, found: BoardRun) -> dict[str, list[int]]:
    """What `spikefold energy calibrate` sets the power against, for each clip over its repeats.

    ``synops`` are counted from the board's own spikes; ``replayed_us`` lasts from the first event of the clip to its
    last, which is when its power was sampled.
    """
    synops = sum(count(network, frames, trace).by_clip("events") for trace in found.repeats)
    replayed_us = [each * len(found.repeats) for each in found.replayed_us]
    return {"synops": np.asarray(synops).tolist(), "replayed_us": replayed_us}


def _keep(folder: Path, content: dict[str, Any]) -> None:
    BoardFile.of(content).write(folder)
