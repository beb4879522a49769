# SPDX-License-Identifier: Apache-2.0
"""``4_export``: quantise each chip's network and write every artefact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from spikefold.errors import UnsupportedError
from spikefold.export.io import identity, load_network, save_network
from spikefold.export.network import Network
from spikefold.export.ops import Conv2d, Dense
from spikefold.export.passes.clip_outliers import clip_outliers
from spikefold.export.passes.quantise import quantise
from spikefold.export.targets import lower
from spikefold.hardware import clocked, reference
from spikefold.hardware.reference import gathered
from spikefold.hardware.registry import chip_named
from spikefold.session import ADAPT, EXPORT, FOLD, Session, write_json

_SAMPLE_CLIPS = 10
_SAMPLE_FRAMES = 64


def export_stage(session: Session) -> None:
    """Write the chips' files, and the folded network for other tools."""
    folded = load_network(session.path(FOLD) / "folded")
    frames = session.clips("train").first(_SAMPLE_CLIPS).frames
    with session.writing(EXPORT) as folder:
        save_network(folded, folder / "folded")
        artefacts = _write_exchange(folded, folder)
        chips = {}
        for name in session.config.chips.names:
            adapted = load_network(session.path(ADAPT) / name / "adapted")
            chips[name] = export_chip(adapted, name, frames, folder / name)
            artefacts += chips[name]["artefacts"]
        write_json(folder / "export.json", {"identity": identity(folded), "chips": chips, "artefacts": artefacts})
    session.reporter.line(f"exported {len(artefacts)} artefacts")


def _write_exchange(folded: Network, folder: Path) -> list[str]:
    from spikefold.export import to_nir, to_onnx

    to_nir.write(folded, folder / "model.nir")
    to_onnx.write(folded, folder / "model.onnx")
    write_json(folder / "nir_losses.json", to_nir.losses(folded))
    return ["folded.json", "folded.safetensors", "model.nir", "nir_losses.json", "model.onnx"]


def export_chip(network: Network, name: str, frames: np.ndarray, folder: Path) -> dict[str, Any]:
    """Quantise for one chip and write its files.

    Args:
        network: real, folded, with the chip's neurons.
        name: the chip.
        frames: calibration clips ``(T, N, C, H, W)`` for the search of the scales.
        folder: made here.

    Raises:
        UnsupportedError: every rule of the chip that the network breaks.
    """
    chip = chip_named(name)
    folder.mkdir()
    network, clipped = clip_outliers(network, chip.numbers, layer_inputs(network, frames), reference.apply)
    integer, scales = quantise(network, chip.numbers)
    violations = chip.violations(integer)
    if violations:
        raise UnsupportedError(f"the network does not fit {chip.title}", where=name, issues=violations)
    save_network(network, folder / "real")
    save_network(integer, folder / "network")
    lowered = lower(name, network, integer, folder)
    return {
        "title": chip.title, "identity": identity(integer), "scales": [scale.to_json() for scale in scales],
        "clipped": [entry.to_json() for entry in clipped], "notes": lowered.notes,
        "artefacts": [f"{name}/{file}" for file in ("network.json", "network.safetensors", *lowered.files)],
    }  # fmt: skip


def layer_inputs(network: Network, frames: np.ndarray) -> dict[str, np.ndarray]:
    """A sample of what each weight layer reads, ``(N, C, H, W)`` by layer name."""
    values = clocked.values(network, frames)
    sample = {}
    for layer in network:
        if not isinstance(layer.op, Conv2d | Dense):
            continue
        x = gathered(layer, values)
        chosen = np.linspace(0, len(x) - 1, min(len(x), _SAMPLE_FRAMES)).astype(int)
        sample[layer.name] = x[chosen]
    return sample
