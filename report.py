# SPDX-License-Identifier: Apache-2.0
"""`report.json` and the self-contained `report.html` of a run, bound together from what the stages wrote."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from spikefold import __version__
from spikefold.energy.chip.markdown import NOMINAL, by_reason
from spikefold.energy.outputs import read_energy
from spikefold.energy.report import energy_bars, uncertainty_section
from spikefold.energy.statistics.clips import FILE, load_clips
from spikefold.hardware.registry import chip_named, chips
from spikefold.hardware.report import input_and_layers, output_rasters, spikes_per_layer
from spikefold.hardware.simulators.trace import Trace, load_trace
from spikefold.session import (
    ADAPT,
    BOARD,
    ENERGY,
    EVENTS,
    EXPORT,
    FOLD,
    RESULTS,
    SIMULATE,
    TRAIN,
    VALIDATE,
    Session,
    read_json,
    write_json,
    write_text,
)

SCHEMA_VERSION = 1
_TEMPLATE = Path(__file__).with_name("report.html.jinja")
_PACKAGES = ("torch", "spikingjelly", "sinabs", "nir", "onnx", "numpy")


def report_stage(session: Session) -> dict[str, Any]:
    """Write both files and return the content of ``report.json``."""
    report = assemble(session)
    write_json(session.folder / "report.json", report)
    write_text(session.folder / "report.html", render(session, report))
    return report


def assemble(session: Session) -> dict[str, Any]:
    """Everything the stages found, under the published keys; no times and no paths, so two runs can be compared."""
    trained = read_json(session.path(TRAIN) / "metrics.json")
    folds = read_json(session.path(FOLD) / "fold.json")
    adapted = read_json(session.path(ADAPT) / "adapt.json")
    exported = read_json(session.path(EXPORT) / "export.json")
    simulated = read_json(session.path(SIMULATE) / "simulate.json")
    parity = read_json(session.path(VALIDATE) / "validate.json")
    energy = read_energy(session.path(ENERGY) / RESULTS)
    board = _board(session)
    return {
        "schema_version": SCHEMA_VERSION,
        "spikefold": __version__,
        "run": session.folder.name,
        "config": session.resolved().model_dump(mode="json"),
        "environment": {"python": platform.python_version(), "packages": _versions(), **_vendors_packages()},
        "classes": trained["classes"],
        "training": {
            key: trained[key] for key in ("protocol", "chosen", "voted", "repairs", "shared_masks") if key in trained
        },
        "accuracy": {name: result["accuracy"] for name, result in simulated.items()},
        "clips": next(iter(simulated.values()))["clips"],
        "accuracy_ladder": list(_ladder(simulated, parity, energy)),
        "parity": parity,
        "events": {
            name: {key: simulated[f"{name}.{EVENTS}"][key] for key in ("went_in", "gap", "loads", "over_limit")}
            for name in exported["chips"]
            if f"{name}.{EVENTS}" in simulated
        },
        "rounding": {
            name: simulated[name]["rounding"] for name in exported["chips"] if "rounding" in simulated[name]
        },
        "passes": folds["passes"],
        "gates": folds["gates"],
        "choices": folds["choices"],
        "replaced_neurons": folds["replaced"],
        "adapted": adapted,
        "chips": exported["chips"],
        "artefacts": exported["artefacts"],
        "identity": exported["identity"],
        "energy": energy,
        "board": board if board is not None and "not_run" not in board else None,
        "not_run": _not_run(session, board),
    }


def _ladder(simulated: dict[str, Any], parity: dict[str, Any], energy: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each variant of the way down; behind a chip's integers what its vendor's simulator gave."""
    for name, result in simulated.items():
        counts = energy["networks"][name]["counts"]
        yield {
            "name": name,
            "what": result["what"],
            "accuracy": result["accuracy"],
            "interval": result["interval"],
            "clips": result["clips"],
            "spikes_per_clip": result["spikes"] / result["clips"],
            "nasfr": counts["nasfr"],
            "synops_per_clip": sum(la["events"] for la in counts["layers"]) / counts["clips"],
            "changed": result["changed"],
            "voted": result.get("voted"),
        }
        if name in parity and (vendor := parity[name]["simulated"]) is not None:
            yield {
                "name": f"{name}.simulated",
                "what": f"{vendor['runner']}, on the clips given to it",
                "accuracy": vendor["accuracy"],
                "interval": vendor["interval"],
                "clips": vendor["clips"],
                "spikes_per_clip": vendor["spikes"] / vendor["clips"],
                "nasfr": None,
                "synops_per_clip": None,
                "changed": None if parity[name]["mismatches"] else {"since": name, "predictions": 0, "layers": {}},
                "voted": None,
            }


def _not_run(session: Session, board: dict[str, Any] | None) -> list[dict[str, str]]:
    """What a reader might take for granted, and why it was not done."""
    missing = []
    if not session.config.chips.names:
        missing.append(
            {
                "what": "chips",
                "why": "chips.names is empty: nothing was quantised, written for a chip or "
                "compared with its simulator",
            }
        )
    ran = None if board is None else str(board["target"]).partition(":")[0]
    for chip in map(chip_named, session.config.chips.names):
        if chip.vendor_simulator is None:
            why = "there is no simulator of its vendor here: its integers were compared on our own runners alone"
            missing.append({"what": f"vendor's simulator of {chip.title}", "why": why})
        if chip.not_run is not None and ran not in [one.name for one in chip.boards]:
            missing += [{"what": item.what, "why": item.why} for item in chip.not_run()]
    if board is not None and "not_run" in board:
        missing.append({"what": board["target"], "why": board["not_run"]})
    return missing


def _board(session: Session) -> dict[str, Any] | None:
    """What a board did, where one was asked for."""
    path = session.path(VALIDATE) / BOARD
    found: dict[str, Any] | None = read_json(path) if path.is_file() else None
    return found


def _vendors_packages() -> dict[str, str]:
    """What was found of the packages by which the chips' vendors reach their hardware."""
    return {
        package: found
        for chip in chips().values()
        if chip.environment is not None
        for package, found in chip.environment().items()
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def render(session: Session, report: dict[str, Any]) -> str:
    """The page, with every picture inside."""
    test = session.clips("test")
    # the steps between are in the table; pictures show the ends
    shown = [name for name in report["accuracy"] if "." not in name and name != "static"]
    traces = {name: load_trace(session.path(SIMULATE) / f"trace.{name}.npz") for name in shown}
    clips = load_clips(session.path(ENERGY) / FILE)
    spread = ["float", *session.config.chips.names]
    clip = _clearest(traces["float"], len(report["classes"]), test.labels)
    classes = tuple(report["classes"])
    pictures = {
        "input": input_and_layers(test.frames, traces["folded"], clip),
        "rasters": output_rasters(traces, classes, clip, int(test.labels[clip])),
        "spikes": spikes_per_layer(traces),
        "energy": energy_bars({name: report["energy"]["networks"][name] for name in shown}),
        "spread": uncertainty_section(report["energy"], {name: clips.networks[name] for name in spread}),
    }
    environment = Environment(undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        r=report, pictures=pictures, chips=list(session.config.chips.names), by_reason=by_reason, nominal=NOMINAL
    )


def _clearest(trace: Trace, classes: int, labels: Any) -> int:
    """The clip whose true class has the most output spikes: one picture should show a case that works."""
    counts = trace.output_counts(classes)
    return int(counts[range(len(labels)), labels].argmax())
