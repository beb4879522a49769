# SPDX-License-Identifier: Apache-2.0
"""``6_validate``: compare every runner of every chip spike for spike; a difference fails the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from spikefold.errors import MismatchError
from spikefold.export.network import Network
from spikefold.hardware.simulators.accuracy import accuracy
from spikefold.hardware.simulators.parity import Parity
from spikefold.hardware.simulators.trace import Trace
from spikefold.session import Reporter, Session
from spikefold.stage_table import EXPORT, VALIDATE
from spikefold.stages.chip_files import compare_runners
from spikefold.stages.files.networks import network_of_run
from spikefold.stages.files.validate import ValidateFile

Compare = Callable[[Mapping[str, tuple[Network, Network]], np.ndarray, int, Reporter], dict[str, Parity]]
"""Every runner of each chip on the same clips; a layer that never fires is among the failures of the result."""


def validate_stage(session: Session, compare: Compare | None = None) -> None:
    """Compare, write the evidence, and only then fail.

    Args:
        session: an exported run.
        compare: does the comparing, such as by the workers of a cluster; None: this process.

    Raises:
        MismatchError: after the evidence was written.
    """
    config = session.config.chips
    clips = session.clips_over_classes("test", config.parity_clips)
    networks = networks_of(session)
    if not networks:
        session.reporter.line("no chip is named, so no runners are compared")
    parities, failures = {}, []
    with session.writing(VALIDATE) as folder:
        compared = compare or partial(compare_runners, allow_silent=True)
        found = compared(networks, clips.frames, config.vendor_clips, session.reporter)
        for name, checked in found.items():
            simulated = _simulated(checked.simulated, networks[name][1].classes, clips.labels)
            parities[name] = checked.to_json() | {"simulated": simulated}
            failures += checked.failures()
        ValidateFile.of({"chips": parities}).write(folder)
    if failures:
        raise MismatchError(
            "; ".join(failures),
            where=str(session.folder / VALIDATE.folder),
            hint=_to_do(found.values()),
        )


def networks_of(session: Session) -> dict[str, tuple[Network, Network]]:
    """By chip of a run its real network and its integers.

    Raises:
        DataError: the run was not exported, or its files are damaged.
    """
    return {
        name: (network_of_run(session, EXPORT, f"{name}/real"), network_of_run(session, EXPORT, f"{name}/network"))
        for name in session.config.chips.names
    }


def _to_do(found: Iterable[Parity]) -> str:
    if any(comparison.mismatches for parity in found for comparison in parity.comparisons):
        return "the first mismatch and both states are in validate.json; the smallest case: --reduce FOLDER"
    return (
        "a layer that never fires is a network that has not learned: train longer (train.epochs) or on more "
        "recordings, or lower model.threshold"
    )


def _simulated(trace: Trace | None, classes: int, labels: np.ndarray) -> dict[str, Any] | None:
    """How the vendor's simulator did on the clips given to it, and of how many classes they are; None without one."""
    if trace is None:
        return None
    counts = trace.output_counts(classes)
    seen = labels[: len(counts)]
    right = accuracy(counts, seen)
    return {
        "runner": trace.runner,
        "accuracy": right.share,
        "clips": right.clips,
        "classes": len(np.unique(seen)),
        "interval": list(right.interval),
        "spikes": trace.spikes,
    }
