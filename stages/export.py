# SPDX-License-Identifier: Apache-2.0
"""``4_export``: quantise each chip's network and write every artefact."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from spikefold.errors import Issue, UnsupportedError
from spikefold.export import to_onnx
from spikefold.export.io import identity, save_network
from spikefold.export.network import Network
from spikefold.export.nir import to_nir
from spikefold.files import write_json
from spikefold.hardware.registry import chip_named
from spikefold.session import BASELINE, Session
from spikefold.stage_table import ADAPT, EXPORT, FOLD
from spikefold.stages.chip_files import SAMPLE_CLIPS, chip_network, write_chip, write_integers
from spikefold.stages.files.export import ExportFile
from spikefold.stages.files.networks import network_of_run

PER_CHANNEL = "model_per_channel.nir"
"""The graph that goes to chips where `model.nir` has thresholds for each neuron."""


def export_stage(session: Session) -> None:
    """Write the chips' files, and the folded network for other tools.

    A chip that refuses its network does not keep the others from their files; the error comes at the end, and later
    stages ask for the chip that is missing.

    Raises:
        UnsupportedError: every rule of each chip that its network breaks.
    """
    folded = network_of_run(session, FOLD, "folded")
    frames = session.first_clips("train", SAMPLE_CLIPS).frames
    with session.writing(EXPORT) as folder:
        save_network(folded, folder / "folded")
        artefacts = _write_exchange(folded, folder) + _per_channel(session, folded, folder)
        chips, refused = {}, []
        for name in session.config.chips.names:
            adapted = network_of_run(session, ADAPT, f"{name}/adapted")
            try:
                made = chip_network(adapted, chip_named(name), frames)
                if violations := made.chip.violations(made.integer):
                    raise UnsupportedError(
                        f"the network does not fit {made.chip.title}", where=name, issues=violations
                    )
                chips[name] = write_chip(made, folder / name)
            except UnsupportedError as error:
                shutil.rmtree(folder / name, ignore_errors=True)
                refused.append((name, error))
                continue
            artefacts += chips[name]["artefacts"]
            if (session.path(ADAPT) / name / f"{BASELINE}.json").is_file():
                baseline = network_of_run(session, ADAPT, f"{name}/{BASELINE}")
                write_integers(chip_network(baseline, chip_named(name), frames), folder / name, BASELINE)
        if refused and not chips:
            raise _joined(session, refused)
        ExportFile.of({"identity": identity(folded), "chips": chips, "artefacts": artefacts}).write(folder)
    session.reporter.line(f"exported {len(artefacts)} artefacts")
    if refused:
        raise _joined(session, refused, f"; written: {', '.join(chips)}")


def _joined(session: Session, refused: list[tuple[str, UnsupportedError]], written: str = "") -> UnsupportedError:
    """One error of all chips that refuse, and what would make the run's network fit."""
    if len(refused) == 1:
        name, error = refused[0]
        narrow = f"`spikefold fit {session.folder} --chip {name} --apply` takes channels away until it fits"
        hint = "; ".join(part for part in (error.hint, narrow) if part) + written
        return UnsupportedError(error.what, where=error.where or name, issues=error.issues, hint=hint)
    issues = [
        replace(issue, where=f"{name}: {issue.where}")
        for name, error in refused
        for issue in error.issues or (Issue(error.what, error.where, "as said", "none", error.hint),)
    ]
    names = ", ".join(name for name, _ in refused)
    hint = f"`spikefold fit {session.folder} --chip NAME --apply` takes channels away until it fits{written}"
    return UnsupportedError(f"the network does not fit {names}", issues=issues, hint=hint)


def _write_exchange(folded: Network, folder: Path) -> list[str]:
    to_nir.write(folded, folder / "model.nir")
    to_onnx.write(folded, folder / "model.onnx")
    write_json(folder / "nir_losses.json", to_nir.losses(folded))
    return ["folded.json", "folded.safetensors", "model.nir", "nir_losses.json", "model.onnx"]


def _per_channel(session: Session, folded: Network, folder: Path) -> list[str]:
    """A second graph where attention is in thresholds of each neuron: with gates per channel, as chips carry them."""
    if all(_one_a_channel(layer.neuron.threshold) for layer in folded.neurons):
        return []
    for name in session.config.chips.names:
        other = network_of_run(session, FOLD, f"{name}/folded")
        if all(_one_a_channel(layer.neuron.threshold) for layer in other.neurons):
            to_nir.write(other, folder / PER_CHANNEL)
            return [PER_CHANNEL]
    return []


def _one_a_channel(threshold: np.ndarray) -> bool:
    return threshold.ndim == 0 or bool((threshold == threshold[:, :1, :1]).all())
