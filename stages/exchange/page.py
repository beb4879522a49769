# SPDX-License-Identifier: Apache-2.0
"""The page of a network trained elsewhere: what its export found, its operations and energy, four verdicts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spikefold.config import Config
from spikefold.energy.budget import load_profile
from spikefold.energy.outputs import energy_json
from spikefold.export.network import Network
from spikefold.files import write_text
from spikefold.hardware.fit import fit_report
from spikefold.hardware.registry import chip_named
from spikefold.session import Reporter
from spikefold.stages.exchange.energy_of import FOLDED, priced
from spikefold.stages.files.validate import ParityForm
from spikefold.stages.report.first_screen import cores_of
from spikefold.stages.report.foreign_verdicts import accuracy_on_chips
from spikefold.stages.report.network_page import LadderStep, NetworkPage, network_page
from spikefold.stages.report.verdicts import energy_verdict, fit_verdict, spikes_verdict
from spikefold.train.data.clips import ClipSet

PAGE, ENERGY = "report.html", "energy.json"
_WHAT = {"real": "float64, as it came"}
_OF_CHIP = {
    "": "the chip's integers, step by step",
    "before": "the chip's neurons and integers, the weights as they came",
    "events": "the chip's integers, event by event: as the chip works",
}


def write_page(
    folder: Path,
    name: str,
    report: Mapping[str, Any],
    networks: Mapping[str, Network],
    clips: ClipSet,
    config: Config,
    reporter: Reporter,
) -> list[str]:
    """Count and price every network, write ``energy.json`` and ``report.html``; the names of the files.

    Args:
        folder: of the export.
        name: of the network, for people.
        report: the content of ``export.json``.
        networks: those that are counted, by name; those of chips under the chip's name.
        clips: test frames ``(T, N, C, H, W)`` and a label each.
        config: the technology profile, the counting rule, and what a chip may lose.
        reporter: told a line for each network.
    """
    energy, right = priced(networks, clips, load_profile(config.energy_profile), config.energy_rule, reporter)
    write_text(folder / ENERGY, energy_json(energy))
    write_text(folder / PAGE, network_page(_content(name, report, networks, energy, right, config)))
    return [ENERGY, PAGE]


def _content(
    name: str,
    report: Mapping[str, Any],
    networks: Mapping[str, Network],
    energy: Mapping[str, Any],
    right: Mapping[str, np.ndarray],
    config: Config,
) -> NetworkPage:
    chips = list(report["chips"])
    fit = {chip: fit_report(networks[chip], chip_named(chip), name, as_it_is=True) for chip in chips}
    parity = {chip: _read(report["parity"][chip]) for chip in chips}
    verdicts = (
        fit_verdict(fit, {chip: cores_of(chip) for chip in chips}),
        spikes_verdict(parity),
        accuracy_on_chips(
            right.get(FOLDED),
            {chip: right[chip] for chip in chips},
            report["classes"],
            config.chips.accuracy_loss,
        ),
        energy_verdict(chips, {}, energy["networks"]),
    )
    return NetworkPage(
        name,
        _about(report),
        report["identity"],
        {chip: {"title": one["title"], "passes": one.get("passes", ())} for chip, one in report["chips"].items()},
        verdicts={one.key: one.to_json() for one in verdicts},
        fit={chip: one.to_json() for chip, one in fit.items()},
        parity=report["parity"],
        passes=report.get("passes", ()),
        ladder=tuple(ladder(report, energy)),
        networks=energy["networks"],
        constants=energy["constants"],
        adapted=report.get("adapted", {}),
        refused=report.get("refused", {}),
        not_run=report["not_run"],
    )


def _read(parity: Mapping[str, Any]) -> ParityForm:
    return ParityForm.model_validate_json(json.dumps({**parity, "simulated": None}, allow_nan=False))


def _about(report: Mapping[str, Any]) -> str:
    given = report["input"]
    shape = " x ".join(map(str, given["shape"]))
    parts = [
        "A network trained elsewhere",
        f"input {shape}, {given['steps']} steps of {given['dt_us']:,} us",
        f"{report['classes']} classes",
        f"spikefold {report['spikefold']}",
    ]
    if "convention" in report:
        said = report["convention"]
        parts.append(f"neurons in the convention of {said['name']}, told by {said['told_by']}")
    return " · ".join(parts)


def ladder(report: Mapping[str, Any], energy: Mapping[str, Any]) -> Iterator[LadderStep]:
    """Each network of the report in order, what it is, and its accuracy, spikes and operations a clip."""
    for name, told in report["accuracy"].items():
        # folded is the same function as the network that came
        counts = energy["networks"].get(FOLDED if name == "real" else name, {}).get("counts")
        chip, _, kind = name.partition(".")
        yield LadderStep(
            name,
            _WHAT.get(name) or f"{chip}: {_OF_CHIP[kind]}",
            told["accuracy"],
            told["interval"],
            told.get("spikes_per_clip", told.get("spikes", 0) / told["clips"]),
            told.get("synops_per_clip")
            if counts is None
            else sum(layer["events"] for layer in counts["layers"]) / counts["clips"],
        )
