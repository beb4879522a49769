# SPDX-License-Identifier: Apache-2.0
"""The content of ``report.json``: what the stages of a run wrote, under the published keys."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from spikefold import __version__
from spikefold.hardware.registry import chip_named, chips
from spikefold.session import BOARD, EVENTS, Session
from spikefold.stage_table import VALIDATE
from spikefold.stages.files.adapt import AdaptFile
from spikefold.stages.files.base import plain
from spikefold.stages.files.board import BoardFile
from spikefold.stages.files.energy import energy_of_run
from spikefold.stages.files.export import ExportFile
from spikefold.stages.files.fold import FoldFile
from spikefold.stages.files.simulate import FLOAT, SimulateFile
from spikefold.stages.files.train import TrainFile
from spikefold.stages.files.validate import ValidateFile
from spikefold.stages.report.attention_share import attention_share
from spikefold.stages.report.first_screen import first_screen

SCHEMA_VERSION = 1
_OF_TRAINING = ("protocol", "chosen", "voted", "repairs", "shared_masks")
_PACKAGES = ("torch", "spikingjelly", "sinabs", "nir", "onnx", "numpy")


def assemble(session: Session) -> dict[str, Any]:
    """Everything the stages found, under the published keys; no times and no paths, so two runs can be compared."""
    trained, folds, adapted = TrainFile.of_run(session), FoldFile.of_run(session), AdaptFile.of_run(session)
    exported, simulated = ExportFile.of_run(session), SimulateFile.of_run(session)
    validated = ValidateFile.of_run(session)
    energy, board = energy_of_run(session, list(simulated.variants)), _board(session)
    training, folded, on_chips = trained.plain(), folds.plain(), exported.plain()["chips"]
    variants, first = simulated.plain()["variants"], first_screen(session, simulated, validated, energy)
    return {
        "schema_version": SCHEMA_VERSION,
        "spikefold": __version__,
        "run": session.folder.name,
        "config": session.resolved().model_dump(mode="json"),
        "environment": {"python": platform.python_version(), "packages": _versions(), **_vendors_packages()},
        "verdicts": {key: verdict.to_json() for key, verdict in first.verdicts.items()},
        "findings": [finding.to_json() for finding in first.findings],
        "classes": trained.classes,
        "training": {key: training[key] for key in _OF_TRAINING if key in training},
        "accuracy": {name: variant.accuracy for name, variant in simulated.variants.items()},
        "clips": next(iter(simulated.variants.values())).clips,
        "accuracy_ladder": list(_ladder(simulated, validated, energy)),
        "on_chip": first.on_chip,
        "fit": {name: one.to_json() for name, one in first.fit.items()},
        "confusion": _confusion(simulated, [one["variant"] for one in first.on_chip.values()]),
        "parity": validated.plain()["chips"],
        "events": {
            name: {key: variants[by_events][key] for key in ("went_in", "gap", "loads", "over_limit")}
            for name in on_chips
            if (by_events := f"{name}.{EVENTS}") in variants
        },
        "rounding": {name: variants[name]["rounding"] for name in on_chips if "rounding" in variants[name]},
        "passes": folded["passes"],
        "gates": folded["gates"],
        "attention_share": attention_share(simulated.variants),
        "choices": folded["choices"],
        "replaced_neurons": folded["replaced"],
        "adapted": adapted.plain()["chips"],
        "adapted_baselines": adapted.plain()["baselines"],
        "chips": on_chips,
        "artefacts": exported.artefacts,
        "identity": exported.identity,
        "energy": energy,
        "board": board.plain() if board is not None and board.not_run is None else None,
        "not_run": _not_run(session, board),
    }


def _confusion(simulated: SimulateFile, quoted: list[str]) -> dict[str, list[list[int]]]:
    """Clips by true and by named class, of what is quoted for a chip and of the trained network."""
    found = {name: simulated.variants[name].confusion for name in (*quoted, FLOAT)}
    return {name: matrix for name, matrix in found.items() if matrix is not None}


def _ladder(simulated: SimulateFile, validated: ValidateFile, energy: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each variant of the network in order; behind a chip's integers what its vendor's simulator gave."""
    for name, variant in simulated.variants.items():
        counts = energy["networks"][name]["counts"]
        yield {
            "name": name,
            "what": variant.what,
            "accuracy": variant.accuracy,
            "interval": list(variant.interval),
            "ties": variant.ties,
            "clips": variant.clips,
            "spikes_per_clip": variant.spikes / variant.clips,
            "nasfr": counts["nasfr"],
            "synops_per_clip": sum(la["events"] for la in counts["layers"]) / counts["clips"],
            "changed": None if variant.changed is None else plain(variant.changed),
            "voted": None if variant.voted is None else plain(variant.voted),
        }
        parity = validated.chips.get(name)
        if parity is not None and (vendor := parity.simulated) is not None:
            yield {
                "name": f"{name}.simulated",
                "what": f"{vendor.runner}, on {vendor.clips} clips of {vendor.classes} classes, drawn over all",
                "accuracy": vendor.accuracy,
                "interval": list(vendor.interval),
                "ties": None,
                "clips": vendor.clips,
                "spikes_per_clip": vendor.spikes / vendor.clips,
                "nasfr": None,
                "synops_per_clip": None,
                "changed": None if parity.mismatches else {"since": name, "predictions": 0, "layers": {}},
                "voted": None,
            }


def _not_run(session: Session, board: BoardFile | None) -> list[dict[str, str]]:
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
    ran = None if board is None else board.target.partition(":")[0]
    for chip in map(chip_named, session.config.chips.names):
        if chip.vendor_simulator is None:
            why = "there is no simulator of its vendor here: its integers were compared on our own runners alone"
            missing.append({"what": f"vendor's simulator of {chip.title}", "why": why})
        if chip.not_run is not None and ran not in [one.name for one in chip.boards]:
            missing += [{"what": item.what, "why": item.why} for item in chip.not_run()]
    if board is not None and board.not_run is not None:
        missing.append({"what": board.target, "why": board.not_run})
    return missing


def _board(session: Session) -> BoardFile | None:
    """What a board did, where one was asked for."""
    return BoardFile.of_run(session) if (session.path(VALIDATE) / BOARD).is_file() else None


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
