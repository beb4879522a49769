# SPDX-License-Identifier: Apache-2.0
"""The page of a network trained elsewhere: accuracy ladder, parity, passes, refusals, operations, energy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spikefold.config import Config
from spikefold.energy.budget import load_profile
from spikefold.energy.outputs import energy_json
from spikefold.export.network import Network
from spikefold.files import write_text
from spikefold.pages import templates
from spikefold.session import Reporter
from spikefold.stages.exchange.energy_of import FOLDED, priced
from spikefold.train.data.clips import ClipSet

PAGE, ENERGY = "report.html", "energy.json"
_FOLDER = Path(__file__).parent
_STYLE = _FOLDER.parent / "report" / "parts"
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
        networks: those that are counted, by name.
        clips: test frames ``(T, N, C, H, W)`` and a label each.
        config: the technology profile and the counting rule.
        reporter: told a line for each network.
    """
    energy, _ = priced(networks, clips, load_profile(config.energy_profile), config.energy_rule, reporter)
    write_text(folder / ENERGY, energy_json(energy))
    write_text(folder / PAGE, page(name, report, energy))
    return [ENERGY, PAGE]


def page(name: str, report: Mapping[str, Any], energy: Mapping[str, Any]) -> str:
    """The page as HTML that needs nothing else; text is escaped."""
    from spikefold.energy.report import energy_bars  # it draws, which takes a second to load

    environment = templates(_FOLDER, _STYLE)
    passes = [("every chip", entry) for entry in report.get("passes", ())]
    passes += [(chip, entry) for chip, told in report["chips"].items() for entry in told.get("passes", ())]
    return environment.get_template("foreign.html.jinja").render(
        name=name,
        r=report,
        energy=energy,
        ladder=ladder(report, energy),
        passes=passes,
        bars=energy_bars(dict(energy["networks"])),
    )


def ladder(report: Mapping[str, Any], energy: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each network of the report in order, what it is, and its accuracy, spikes and operations a clip."""
    rows = []
    for name, told in report["accuracy"].items():
        # folded is the same function as the network that came
        counts = energy["networks"].get(FOLDED if name == "real" else name, {}).get("counts")
        chip, _, kind = name.partition(".")
        rows.append(
            {
                "name": name,
                "what": _WHAT.get(name) or f"{chip}: {_OF_CHIP[kind]}",
                "accuracy": told["accuracy"],
                "interval": told["interval"],
                "spikes_per_clip": told.get("spikes_per_clip", told.get("spikes", 0) / told["clips"]),
                "synops_per_clip": told.get("synops_per_clip")
                if counts is None
                else sum(layer["events"] for layer in counts["layers"]) / counts["clips"],
            }
        )
    return rows
