# SPDX-License-Identifier: Apache-2.0
"""``4_export``: quantise each chip's network and write every artefact."""

from __future__ import annotations

from pathlib import Path

from spikefold.errors import UnsupportedError
from spikefold.export.io import identity, save_network
from spikefold.export.network import Network
from spikefold.files import write_json
from spikefold.hardware.registry import chip_named
from spikefold.session import BASELINE, Session
from spikefold.stage_table import ADAPT, EXPORT, FOLD
from spikefold.stages.chip_files import SAMPLE_CLIPS, chip_network, write_chip, write_integers
from spikefold.stages.files.export import ExportFile
from spikefold.stages.files.networks import network_of_run


def export_stage(session: Session) -> None:
    """Write the chips' files, and the folded network for other tools.

    Raises:
        UnsupportedError: every rule of the chip that its network breaks.
    """
    folded = network_of_run(session, FOLD, "folded")
    frames = session.first_clips("train", SAMPLE_CLIPS).frames
    with session.writing(EXPORT) as folder:
        save_network(folded, folder / "folded")
        artefacts = _write_exchange(folded, folder)
        chips = {}
        for name in session.config.chips.names:
            adapted = network_of_run(session, ADAPT, f"{name}/adapted")
            made = chip_network(adapted, chip_named(name), frames)
            if violations := made.chip.violations(made.integer):
                raise UnsupportedError(f"the network does not fit {made.chip.title}", where=name, issues=violations)
            chips[name] = write_chip(made, folder / name)
            artefacts += chips[name]["artefacts"]
            if (session.path(ADAPT) / name / f"{BASELINE}.json").is_file():
                baseline = network_of_run(session, ADAPT, f"{name}/{BASELINE}")
                write_integers(chip_network(baseline, chip_named(name), frames), folder / name, BASELINE)
        ExportFile.of({"identity": identity(folded), "chips": chips, "artefacts": artefacts}).write(folder)
    session.reporter.line(f"exported {len(artefacts)} artefacts")


def _write_exchange(folded: Network, folder: Path) -> list[str]:
    from spikefold.export import to_onnx
    from spikefold.export.nir import to_nir

    to_nir.write(folded, folder / "model.nir")
    to_onnx.write(folded, folder / "model.onnx")
    write_json(folder / "nir_losses.json", to_nir.losses(folded))
    return ["folded.json", "folded.safetensors", "model.nir", "nir_losses.json", "model.onnx"]
