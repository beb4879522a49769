# SPDX-License-Identifier: Apache-2.0
"""The stages of a run, each from files to files: train, export, simulate, validate, energy. No numerics here."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from spikefold.config import ModelConfig, to_toml
from spikefold.energy.budget import AttentionCost, attention_cost, budget, equation_11, load_profile
from spikefold.energy.counts import count
from spikefold.errors import MismatchError, UnsupportedError
from spikefold.export.from_torch import from_torch
from spikefold.export.io import identity, load_network, save_network
from spikefold.export.network import InputSpec, Network
from spikefold.export.ops import Gate
from spikefold.export.passes.fold_attention import fold_attention
from spikefold.export.passes.fold_batchnorm import fold_batchnorm
from spikefold.export.passes.fold_pooling import fold_pooling
from spikefold.export.passes.quantise import quantise
from spikefold.export.targets import judge, lower
from spikefold.hardware import clocked, parity
from spikefold.hardware.accuracy import accuracy
from spikefold.hardware.registry import chip_named
from spikefold.hardware.trace import Trace, load_trace, save_trace
from spikefold.hardware.validate import compare
from spikefold.session import CONFIG, NETWORK, Session, write_json, write_text
from spikefold.train import checkpoint, gates
from spikefold.train.tracing import trace_model
from spikefold.train.twins import Job, train_all

TWIN = "vanilla"
_CALIBRATION_CLIPS = 200
_FOLDS = (fold_batchnorm, fold_pooling, fold_attention)
_MOST_FLIPS = 1e-5
"""Share of spikes that float64 rounding may flip when a pass reorders sums; beyond it a pass is wrong."""


def train_stage(session: Session) -> None:
    """Train the network and, if it has attention, its vanilla twin."""
    config = session.config
    for name in config.chips.names:
        chip_named(name)  # an unknown chip or profile must not be found out after the training
    load_profile(config.energy_profile)
    clips = session.clips("train")
    job = Job(config, clips, session.binning, session.dataset.classes)
    with session.writing("1_train") as folder:
        folders = {NETWORK: (config.model.attention, folder / NETWORK)}
        if config.train.twin and config.model.attention != "none":
            folders[TWIN] = ("none", folder / TWIN)
        history = train_all(
            job, folders, lambda name, e: session.reporter.progress(
                f"train {name}", e.number, e.of, f"loss {e.loss:.3f}, accuracy {e.accuracy:.3f}"
            ),
        )  # fmt: skip
        metrics = {name: [asdict(epoch) for epoch in epochs] for name, epochs in history.items()}
        write_json(folder / "metrics.json", {"epochs": metrics, "classes": list(session.dataset.classes)})
    write_text(session.folder / CONFIG, to_toml(session.resolved()))
    session.reporter.line(f"trained {', '.join(folders)} on {len(clips)} clips")


def export_stage(session: Session) -> None:
    """Calibrate the gates, fold, prove each fold, quantise, and write every artefact."""
    trained = checkpoint.load(session.path("1_train") / NETWORK)
    calibration = session.clips("train").first(_CALIBRATION_CLIPS).frames
    statistics = gates.calibrate(trained.model, calibration)
    binning = trained.binning
    spec = InputSpec(binning.shape, binning.dt_us, binning.steps, binning.max_count)
    scales = {name: gate.scale for name, gate in statistics.items()}
    network = from_torch(trained.model.layers, spec, len(trained.classes), scales)
    with session.writing("2_export") as folder:
        save_network(network, folder / "unfolded")
        proven = calibration[:, : session.config.chips.parity_clips]
        folded, proofs = _fold(network, proven)
        save_network(folded, folder / "folded")
        artefacts = _write_exchange(folded, folder)
        chips = {}
        for name in session.config.chips.names:
            chips[name] = _export_chip(folded, name, folder / name)
            artefacts += chips[name]["artefacts"]
        measured = {
            name: {"mean": g.mean, "std": g.std, "explained": g.explained, "scale": g.scale.tolist()}
            for name, g in statistics.items()
        }
        write_json(folder / "export.json", {
            "identity": identity(folded), "passes": proofs, "gates": measured, "chips": chips, "artefacts": artefacts,
        })  # fmt: skip
    session.reporter.line(f"exported {len(artefacts)} artefacts, folded network {identity(folded)[:12]}")


def _fold(network: Network, frames: np.ndarray) -> tuple[Network, list[dict[str, Any]]]:
    """Apply the folding passes, each proven by running before and after in float64."""
    proofs = []
    before = clocked.run(network, frames)
    for step in _FOLDS:
        network = step(network)
        after = clocked.run(network, frames)
        named = replace(before, runner=f"before {step.__name__}"), replace(after, runner=f"after {step.__name__}")
        comparison = compare(*named)
        if comparison.mismatches > _MOST_FLIPS * comparison.spikes:
            raise MismatchError(f"{step.__name__} changed the network: {comparison.describe()}", where="export",
                                hint="a bug: keep the run folder and report it")  # fmt: skip
        proofs.append({"pass": step.__name__, "flips": comparison.mismatches} | comparison.to_json())
        before = after
    return network, proofs


def _write_exchange(folded: Network, folder: Any) -> list[str]:
    from spikefold.export import to_nir, to_onnx

    to_nir.write(folded, folder / "model.nir")
    to_onnx.write(folded, folder / "model.onnx")
    write_json(folder / "nir_losses.json", to_nir.losses(folded))
    return ["folded.json", "folded.safetensors", "model.nir", "nir_losses.json", "model.onnx"]


def _export_chip(folded: Network, name: str, folder: Any) -> dict[str, Any]:
    chip = chip_named(name)
    folder.mkdir()
    integer, scales = quantise(folded, chip.numbers)
    violations = chip.violations(integer)
    if violations:
        raise UnsupportedError(f"the network does not fit {chip.title}", where=name, issues=violations)
    save_network(integer, folder / "network")
    lowered = lower(name, folded, integer, folder)
    return {
        "title": chip.title, "identity": identity(integer), "scales": [scale.to_json() for scale in scales],
        "notes": lowered.notes,
        "artefacts": [f"{name}/{file}" for file in ("network.json", "network.safetensors", *lowered.files)],
    }  # fmt: skip


def simulate_stage(session: Session) -> None:
    """Run every network over the whole test set, and say how accurate each is."""
    test, exported = session.clips("test"), session.path("2_export")
    classes = len(session.dataset.classes)
    traces = {}
    for name in (NETWORK, TWIN):
        folder = session.path("1_train") / name
        if folder.is_dir():
            traces["float" if name == NETWORK else TWIN] = trace_model(checkpoint.load(folder).model, test.frames)
    traces["folded"] = clocked.run(load_network(exported / "folded"), test.frames)
    for name in session.config.chips.names:
        traces[name] = clocked.run(load_network(exported / name / "network"), test.frames)
    results = {}
    with session.writing("3_simulate") as folder:
        for name, trace in traces.items():
            save_trace(trace, folder / f"trace.{name}.npz")
            found = accuracy(trace.output_counts(classes), test.labels)
            results[name] = {
                "accuracy": found.share, "interval": list(found.interval), "clips": len(test), "spikes": trace.spikes,
                "layers": {key: _layer_facts(trace, key) for key in trace.layers}, "runner": trace.runner,
            }  # fmt: skip
            session.reporter.line(f"{name}: accuracy {found.share:.3f} on {len(test)} clips, {trace.spikes} spikes")
        write_json(folder / "simulate.json", results)


def _layer_facts(trace: Trace, name: str) -> dict[str, Any]:
    layer = trace.layers[name]
    return {
        "spikes": layer.spikes, "rate": float(layer.raster.mean()), "overflow": layer.overflow,
        "v_range": None if layer.v_range is None else list(layer.v_range),
    }  # fmt: skip


def validate_stage(session: Session) -> None:
    """Compare every runner of every chip spike for spike; a difference fails the run.

    Raises:
        MismatchError: after the evidence was written.
    """
    exported, config = session.path("2_export"), session.config.chips
    frames = session.clips("test").first(config.parity_clips).frames
    folded = load_network(exported / "folded")
    parities, failures = {}, []
    with session.writing("4_validate") as folder:
        for name in config.names:
            integer = load_network(exported / name / "network")
            checked = parity.check(name, integer, frames, judge(name, folded, integer), config.judge_clips)
            parities[name] = checked.to_json()
            failures += checked.failures()
            for comparison in checked.comparisons:
                session.reporter.line(f"{name}: {comparison.describe()}")
        write_json(folder / "validate.json", parities)
    if failures:
        raise MismatchError("; ".join(failures), where=str(session.folder / "4_validate"),
                            hint="the first mismatch and both states are in validate.json")  # fmt: skip


def energy_stage(session: Session) -> None:
    """Count operations of the float network, its twin and each chip; price them; Eq. 11."""
    profile = load_profile(session.config.energy_profile)
    test, exported, simulated = session.clips("test"), session.path("2_export"), session.path("3_simulate")
    unfolded = load_network(exported / "unfolded")
    cost = _attention_cost(unfolded, session.config.model, len(test))
    results: dict[str, Any] = {"profile": profile.model_dump(mode="json")}

    counts = count(unfolded, test.frames, load_trace(simulated / "trace.float.npz"))
    attended = budget(counts, profile, cost)
    folded = load_network(exported / "folded")
    static_counts = count(folded, test.frames, load_trace(simulated / "trace.folded.npz"))
    static = budget(static_counts, profile)
    networks = {"float": (counts, attended), "folded": (static_counts, static)}
    if (simulated / f"trace.{TWIN}.npz").exists():
        # the twin has the same connections: batch norm, pools and gates carry no synapses
        twin_counts = count(unfolded, test.frames, load_trace(simulated / f"trace.{TWIN}.npz"))
        twin = budget(twin_counts, profile)
        networks[TWIN] = (twin_counts, twin)
        results["eq11"] = {
            "dynamic": equation_11(attended, twin, profile).to_json(),
            "static": equation_11(_same_geometry(unfolded, session, profile), twin, profile).to_json(),
        }
    for name in session.config.chips.names:
        integer = load_network(exported / name / "network")
        chip_counts = count(integer, test.frames, load_trace(simulated / f"trace.{name}.npz"))
        networks[name] = (chip_counts, budget(chip_counts, profile))
    results["networks"] = {name: {"counts": c.to_json(), "budget": b.to_json()} for name, (c, b) in networks.items()}
    with session.writing("5_energy") as folder:
        write_json(folder / "energy.json", results)
    for name, (c, b) in networks.items():
        session.reporter.line(f"{name}: {b.energy_pj_per_clip / 1e6:.3f} uJ per clip, NASFR {c.nasfr:.4f}")


def _same_geometry(unfolded: Network, session: Session, profile: Any) -> Any:
    """The static network's spikes on the unfolded connections: Eq. 11 is to see attention alone, not folding."""
    trace = load_trace(session.path("3_simulate") / "trace.folded.npz")
    return budget(count(unfolded, session.clips("test").frames, trace), profile)


def _attention_cost(unfolded: Network, config: ModelConfig, clips: int) -> AttentionCost:
    shapes = {layer.name: unfolded.shapes[layer.name] for layer in unfolded if isinstance(layer.op, Gate)}
    return attention_cost(shapes, unfolded.input.steps, clips, mlp=config.attention == "asa1")
