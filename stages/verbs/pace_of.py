# SPDX-License-Identifier: Apache-2.0
"""Which layer holds a network back on a chip that waits for its busiest core, and what more cores for it would buy.

Which core is the busiest depends on the spikes. A simulated run has those of its test clips. A file has none, so it
is run with a silent input: only what its biases alone do is known then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spikefold.energy.chip.pace import Proposal, Step, proposal, steps
from spikefold.energy.chip.sources import numbers_of
from spikefold.energy.prices.technology import Times
from spikefold.errors import UnsupportedError
from spikefold.export.network import Network
from spikefold.hardware.chip import Chip
from spikefold.hardware.core_work import CoreWork, joined
from spikefold.hardware.registry import reader_of
from spikefold.hardware.simulators import clocked
from spikefold.hardware.simulators.silent_input import run_silent
from spikefold.hardware.simulators.trace import Trace
from spikefold.session import Session
from spikefold.stage_table import SIMULATE
from spikefold.stages.files.networks import network_at
from spikefold.stages.files.simulate import SimulateFile

WorkOf = Callable[[Network, np.ndarray, Trace], Mapping[str, CoreWork]]
_CLIPS = 50
"""Run at once."""
FILE_STEPS = 16
"""Steps of a clip of a file, as in the published benchmark of PilotNet."""


@dataclass(frozen=True)
class Pace:
    """What sets the pace of a network on a chip.

    Attributes:
        activity: whose spikes were counted, or would have been.
        slowest: the slowest step, what binds told at the nominal times; None without work.
        mean_us: of all steps, at the low, nominal and high end of the times; None without work.
        cores: of all layers now.
        proposal: more cores for the layer that binds; None where they would buy nothing.
        why: there is no proposal; empty where there is one.
    """

    activity: str
    slowest: Step | None
    mean_us: tuple[float, float, float] | None
    cores: int
    proposal: Proposal | None
    why: str = ""

    def describe(self) -> str:
        """A few sentences for people."""
        if self.slowest is None or self.mean_us is None:
            return f"Pace by {self.activity}: {self.why}"
        step = self.slowest
        said = f"Pace by {self.activity}: the slowest step takes {_told(step.time_us)} us, "
        said += (
            f"the mean {_told(self.mean_us)} us; what binds are the {step.part} of core {step.core} of {step.layer}. "
        )
        if self.proposal is None:
            return said + self.why
        before, after = self.proposal.cores
        return f"{said}Proposed: {self.proposal.describe()} ({self.cores + after - before} cores in all)"

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report."""
        slowest, found = self.slowest, self.proposal
        return {
            "activity": self.activity,
            "mean_us": None if self.mean_us is None else list(self.mean_us),
            "slowest": None if slowest is None else asdict(slowest) | {"time_us": list(slowest.time_us)},
            "proposal": None
            if found is None
            else {
                "layer": found.layer,
                "cores": list(found.cores),
                "slowest_us": list(found.slowest_us),
                "then": found.then,
                "all_cores": self.cores + found.cores[1] - found.cores[0],
            },
            "why": self.why,
        }


def pace_of_run(session: Session, chip: Chip) -> Pace | None:
    """The pace of a run's network by the spikes of its test clips; None for a chip whose cores nobody counts here.

    Raises:
        DataError: a file of the run is damaged.
    """
    times = _times(chip, session.config.chips.power)
    if chip.core_work is None or times is None:
        return None
    activity = "the spikes of the test clips"
    if not (session.folder / SIMULATE.folder / SimulateFile.file).is_file():
        return _none(activity, f"the run has no spikes yet: {SIMULATE.command(session.folder)}")
    variants = SimulateFile.of_run(session).variants
    if chip.name not in variants:
        return _none(activity, f"the run was not simulated for {chip.name}")
    network = network_at(session, variants[chip.name].network)
    try:
        work = _work(session, network, chip.core_work)
    except UnsupportedError as error:
        return _none(activity, f"{error.what} ({error.where})")
    return _pace(activity, work, times)


def _work(session: Session, network: Network, work_of: WorkOf) -> dict[str, CoreWork]:
    """What the cores do on the test clips, which are run again: a run keeps no spikes of all of them."""
    parts = []
    for part in session.parts("test", _CLIPS):
        frames = part.clips.frames
        parts.append(work_of(network, frames, clocked.run(network, frames)))
    return {name: joined([part[name] for part in parts]) for name in parts[0]}


def pace_of_net(path: Path, chip: Chip) -> Pace | None:
    """The pace of a network of a vendor's file with a silent input; None for a chip whose cores nobody counts here.

    Raises:
        DataError: the file is unreadable.
        UnsupportedError: the file holds what cannot be imported.
    """
    return pace_of_network(reader_of("net")[1].read(path, steps=FILE_STEPS), chip)


def pace_of_network(network: Network, chip: Chip) -> Pace | None:
    """The same of a network in a chip's integers that was read already."""
    times = _times(chip, {})
    if chip.core_work is None or times is None:
        return None
    activity = f"what the biases alone do in {network.input.steps} steps behind a silent input"
    ran = run_silent(network)
    if not ran.trace.spikes:
        return _none(activity, "nothing spikes; a simulated run says it of its test clips")
    try:
        work = chip.core_work(ran.network, ran.frames, ran.trace)
    except UnsupportedError as error:
        return _none(activity, f"{error.what} ({error.where})")
    return _pace(activity, work, times)


def _times(chip: Chip, chosen: Mapping[str, str]) -> Times | None:
    """Of the profile that the chip's numbers come from; None where one is missing."""
    mine = {name: profile for name, profile in chosen.items() if name == chip.name}
    profile = numbers_of([chip.name], mine)[chip.name].own
    times = None if profile is None else profile.time_ns
    if times is None or not all(one.known for one in (times.synop, times.neuron, times.barrier)):
        return None
    return times


def _pace(activity: str, work: Mapping[str, CoreWork], times: Times) -> Pace:
    found = steps(work, times)
    slowest = max(found, key=lambda step: step.time_us[1])
    mean_us = [sum(step.time_us[end] for step in found) / len(found) for end in range(3)]
    proposed = proposal(work, times)
    why = "" if proposed else "More cores for it would buy nothing: another layer is as slow, or no other one works."
    return Pace(
        activity,
        slowest,
        (mean_us[0], mean_us[1], mean_us[2]),
        sum(one.cores for one in work.values()),
        proposed,
        why,
    )


def _told(ends: tuple[float, float, float]) -> str:
    """Nominal, and between what."""
    low, nominal, high = ends
    return f"{nominal:,.1f} ({low:,.1f} to {high:,.1f})"


def _none(activity: str, why: str) -> Pace:
    return Pace(activity, None, None, 0, None, why)
