# SPDX-License-Identifier: Apache-2.0
"""What a reader of a report sees first: the four verdicts of a run, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spikefold.hardware.fit import FitReport, fit_report
from spikefold.hardware.registry import chip_named
from spikefold.session import Session
from spikefold.stage_table import EXPORT
from spikefold.stages.files.adapt import BY_EVENTS, AdaptFile
from spikefold.stages.files.energy import clips_of_run
from spikefold.stages.files.networks import network_of_run
from spikefold.stages.files.simulate import FLOAT, SimulateFile
from spikefold.stages.files.train import TrainFile
from spikefold.stages.files.validate import ValidateFile
from spikefold.stages.report.findings import Finding, findings
from spikefold.stages.report.verdicts import (
    Verdict,
    accuracy_verdict,
    baseline_of,
    energy_verdict,
    fit_verdict,
    quoted,
    spikes_verdict,
)


@dataclass(frozen=True)
class FirstScreen:
    """The beginning of a report.

    Attributes:
        verdicts: by key, in the order of the page.
        findings: the worst first.
        fit: what each chip says to the network that was written for it.
        on_chip: by chip the variant that is quoted, and its paired differences of accuracy.
    """

    verdicts: dict[str, Verdict]
    findings: tuple[Finding, ...]
    fit: dict[str, FitReport]
    on_chip: dict[str, dict[str, Any]]


def first_screen(
    session: Session, simulated: SimulateFile, validated: ValidateFile, energy: dict[str, Any]
) -> FirstScreen:
    """Answer the four questions from what the stages wrote.

    Raises:
        DataError: a network or the clips of the run are missing or damaged.
    """
    chips, variants = list(session.config.chips.names), simulated.variants
    allowed = session.config.chips.accuracy_loss
    networks = {name: network_of_run(session, EXPORT, f"{name}/network") for name in chips}
    fit = {name: fit_report(network, chip_named(name), name) for name, network in networks.items()}
    caps = {name: network.neurons[-1].neuron.max_spikes for name, network in networks.items()}
    names = [FLOAT]
    for chip in chips:
        names += [name for name in (quoted(chip, variants), baseline_of(quoted(chip, variants), variants)) if name]
    clips = clips_of_run(session, names).networks
    classes = len(TrainFile.of_run(session).classes)
    accuracy, on_chip = accuracy_verdict(chips, variants, clips, allowed, classes)
    verdicts = {
        one.key: one
        for one in (
            fit_verdict(fit, {name: cores_of(name) for name in chips}),
            spikes_verdict({name: validated.chips[name] for name in chips}),
            accuracy,
            energy_verdict(chips, variants, energy["networks"]),
        )
    }
    chosen = {name: one.selection for name, one in AdaptFile.of_run(session).chips.items()}
    by_events = [name for name, one in chosen.items() if one is not None and one.how == BY_EVENTS]
    found = findings(chips, variants, verdicts, classes, allowed, caps, by_events)
    return FirstScreen(verdicts, found, fit, on_chip)


def cores_of(name: str) -> int | None:
    """How many cores a chip has, where its memory is told core by core."""
    memory = chip_named(name).memory
    return None if memory is None else len(memory.rows)
