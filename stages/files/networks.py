# SPDX-License-Identifier: Apache-2.0
"""A network that a stage wrote, checked against the clips and classes of its run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spikefold.errors import DataError, Issue
from spikefold.export.io import load_network
from spikefold.export.network import Network
from spikefold.session import Session
from spikefold.stage_table import STAGES, Stage
from spikefold.stages.files.base import refused


def network_of_run(session: Session, stage: Stage, name: str) -> Network:
    """The network ``name`` in the folder of a stage, such as ``speck2f/target`` of the fold.

    Raises:
        DataError: the stage has not run; a file is missing or damaged, or the network is not one of this run.
    """
    path = session.path(stage) / name
    network, hint = load_network(path), stage.command(session.folder)
    if issues := list(_misfits(session, network, path.name)):
        raise refused(path, issues, hint)
    return network


def network_at(session: Session, file: str) -> Network:
    """The network that another file names by its place in the run, such as ``4_export/speck2f/network``.

    Raises:
        DataError: as `network_of_run`, or the place is in no folder of a stage.
    """
    folder, _, name = file.partition("/")
    for stage in STAGES:
        if stage.folder == folder and ".." not in Path(name).parts:
            return network_of_run(session, stage, name)
    raise DataError(f"{file} is in no folder of a stage", where=str(session.folder), hint="the file was edited")


def _misfits(session: Session, network: Network, name: str) -> Iterator[Issue]:
    binning, spec = session.binning, network.input
    for what, got, limit in (
        ("input", spec.shape, binning.shape),
        ("steps", spec.steps, binning.steps),
        ("length of a step", spec.dt_us, binning.dt_us),
        ("classes", network.classes, len(session.classes)),
    ):
        if got != limit:
            yield Issue(what, name, str(got), f"{limit} of the run", "The file was edited, or is of another run.")
