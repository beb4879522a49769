# SPDX-License-Identifier: Apache-2.0
"""``2_fold``: calibrate the gates, choose their static form by target, fold, prove it, give each chip its neurons."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from spikefold.export.from_torch import from_torch
from spikefold.export.io import identity, save_network
from spikefold.export.network import InputSpec, Network
from spikefold.export.passes.fold import FOLDS, Pass
from spikefold.export.passes.fold_global_mean import fold_global_mean
from spikefold.hardware.registry import chip_named
from spikefold.hardware.simulators.flips import flips
from spikefold.npz import write_arrays
from spikefold.session import BASELINE, NETWORK, Session
from spikefold.stage_table import FOLD, TRAIN
from spikefold.stages.files.fold import EXCHANGE, FoldFile
from spikefold.train import checkpoint
from spikefold.train.checkpoint import Checkpoint
from spikefold.train.deploy import gates, static_forms
from spikefold.train.deploy.target_neuron import for_chip
from spikefold.train.evaluate import clips_at_once


def fold_stage(session: Session) -> None:
    """Write the folded network, and each chip's own form of it with neurons that the chip has."""
    config = session.config
    trained = checkpoint.load(session.path(TRAIN) / NETWORK)
    calibration = session.first_clips("train", config.gates.clips)
    batch = clips_at_once(config)
    statistics = gates.calibrate(trained.model, calibration.frames, batch)
    targets = {EXCHANGE: gates.FORMS} | {name: chip_named(name).gate_forms for name in config.chips.names}
    measured = static_forms.measure(trained.model, statistics, calibration, config.train.gain, batch)
    choices = {target: static_forms.choose(measured, allowed) for target, allowed in targets.items()}
    for choice in choices.values():
        static_forms.refuse_poor(
            choice, trained.model, statistics, calibration, config.gates.tolerance, config.gates.accept, batch
        )
    proven = session.first_clips("test", config.chips.parity_clips).frames
    # residual sums are read by the mean over the map, and no target pools a sum: its weights take the mean
    passes = (fold_global_mean, *FOLDS) if trained.model.config.family == "sew" else FOLDS
    folded, proofs, found = {}, {}, {}
    for form in dict.fromkeys(choice.form for choice in choices.values()):
        network = _describe(trained, {} if form == "none" else static_forms.factors(statistics, form))
        folded[form] = network, *fold_proven(network, proven, passes)
        proofs[form] = folded[form][2]
    several, baseline = config.adapt.spikes == "several", _folded_baseline(session, proven, passes)
    with session.writing(FOLD) as folder:
        unfolded, network, _ = folded[choices[EXCHANGE].form]
        save_network(unfolded, folder / "unfolded")
        save_network(network, folder / "folded")
        for name in config.chips.names:
            own = folded[choices[name].form][1]
            found[name] = _write_target(own, name, calibration.frames, folder / name, several=several)
            session.reporter.line(f"{name}: static attention per {choices[name].form}, {choices[name].why}")
        if baseline is not None:
            for name in config.chips.names:
                _write_baseline(baseline, name, calibration.frames, folder / name, several=several)
        maps = {f"{name}.mean": layer.mean_map for name, layer in statistics.items()}
        maps |= {f"{name}.variance": layer.variance_map for name, layer in statistics.items()}
        if maps:
            write_arrays(folder / "gates.npz", maps)
        written = {
            "identity": identity(network),
            "passes": proofs[choices[EXCHANGE].form],
            "proofs": proofs,
            "gates": {name: layer.to_json() for name, layer in statistics.items()},
            "choices": {target: choice.to_json() for target, choice in choices.items()},
            "replaced": found,
        }
        FoldFile.of(written).write(folder)
    if silent := dict.fromkeys(name for found in proofs.values() for proof in found for name in proof["silent"]):
        session.reporter.line(
            f"never fired on the clips of the proof, so that states were compared: {', '.join(silent)}"
        )
    session.reporter.line(f"folded network {identity(network)[:12]}, attention per {choices[EXCHANGE].form}")


def _describe(trained: Checkpoint, factors: dict[str, np.ndarray]) -> Network:
    binning = trained.binning
    spec = InputSpec(binning.shape, binning.dt_us, binning.steps, binning.max_count)
    return from_torch(trained.model.layers, spec, len(trained.classes), factors)


def fold_proven(
    network: Network, frames: np.ndarray, passes: tuple[Pass, ...] = FOLDS
) -> tuple[Network, list[dict[str, Any]]]:
    """Apply the folding passes, each proven by running before and after in float64; every flip is explained.

    A layer that never fires is proven by its states, and is a finding of the report.

    Raises:
        MismatchError: a spike flipped further from its threshold than rounding can bring it.
    """
    proofs = []
    for step in passes:
        folded = step(network)
        if folded is network:
            continue
        found = flips(network, folded, frames, allow_silent=True)
        proofs.append({"pass": step.__name__, "flips": len(found.roots) + found.consequences} | found.to_json())
        network = folded
    return network, proofs


def _folded_baseline(session: Session, proven: np.ndarray, passes: tuple[Pass, ...]) -> Network | None:
    """The baseline without attention, folded alike; None where none was trained, or none goes to a chip."""
    path = session.path(TRAIN) / BASELINE
    if not path.is_dir() or not session.config.chips.baseline:
        return None
    folded, _ = fold_proven(_describe(checkpoint.load(path), {}), proven, passes)
    return folded


def _write_baseline(network: Network, chip: str, frames: np.ndarray, folder: Path, *, several: bool) -> None:
    target, _ = for_chip(network, chip_named(chip).numbers, frames, several=several)
    save_network(target, folder / BASELINE)


def _write_target(
    network: Network, chip: str, frames: np.ndarray, folder: Path, *, several: bool
) -> list[dict[str, Any]]:
    folder.mkdir()
    save_network(network, folder / "folded")
    target, replaced = for_chip(network, chip_named(chip).numbers, frames, several=several)
    save_network(target, folder / "target")
    return [asdict(layer) for layer in replaced]
