# SPDX-License-Identifier: Apache-2.0
"""A network trained elsewhere, from its ``.nir`` file to the files of each chip, in one folder.

It holds::

    OUT/  export.json  folded.{json,safetensors}  CHIP/  network.{json,safetensors} and the chip's own files

It goes the way of a run behind its training: folds (`passes.fold`), one threshold a layer where a channel had its
own, integers, the chip's rules, its files. With labelled clips each fold is proven in float64, all runners of each
chip are compared spike for spike, and accuracies are measured; without them ``export.json`` says NOT RUN, and why.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from spikefold import __version__
from spikefold.config import ChipsConfig, DataConfig
from spikefold.errors import ConfigError, DataError, Issue, MismatchError, UnsupportedError
from spikefold.export.io import identity, save_network
from spikefold.export.network import Network
from spikefold.export.nir.from_nir import read
from spikefold.export.nir.options import NirOptions
from spikefold.export.passes.fold import FOLDS
from spikefold.export.passes.uniform_thresholds import uniform_thresholds
from spikefold.files import read_json, replacing_folder, write_json
from spikefold.hardware.chip import Chip
from spikefold.hardware.registry import chip_named
from spikefold.hardware.simulators import clocked
from spikefold.hardware.simulators.accuracy import accuracy
from spikefold.hardware.simulators.flips import flips
from spikefold.session import Reporter
from spikefold.stages.chip_files import SAMPLE_CLIPS, ChipNetwork, chip_network, compare_runners, write_chip
from spikefold.train.data.clips import ClipSet
from spikefold.train.data.datasets import load_dataset
from spikefold.train.data.fitted import fitted_clips

SCHEMA_VERSION = 1
REPORT = "export.json"
CHECKS = ChipsConfig()
"""How many clips every runner and the vendor's simulator are given, as in a run by default."""
WHY_NOT = "no labelled recordings were given (--data)"


def export_file(
    path: Path,
    chips: Sequence[str],
    out: Path,
    options: NirOptions,
    reporter: Reporter,
    clips: ClipSet | None = None,
    calibration: np.ndarray | None = None,
) -> dict[str, Any]:
    """Export a file to every chip named, or to none; the content of ``export.json``.

    Args:
        path: the ``.nir`` file.
        chips: names of the targets.
        out: the folder, which appears whole or not at all; an earlier export there is replaced.
        options: what the file does not say; ``max_count`` is counted in the clips where it is left open.
        reporter: told each finished fact.
        clips: test frames ``(T, N, C, H, W)`` and a label each.
        calibration: training frames for the search of the scales; None: the largest weight decides.

    Raises:
        ConfigError: no chip, or an unknown one.
        DataError: the file is unreadable, the clips do not fit the network, the folder holds something else.
        UnsupportedError: everything in the file that cannot be imported; or every rule of every chip that it breaks.
        MismatchError: a comparison failed. Where spikes differ, the evidence was written before.
    """
    targets = [chip_named(name) for name in dict.fromkeys(chips)]
    if not targets:
        raise ConfigError("no chip to export to", where="--chip")
    for chip in targets:
        chip.require_files()
    check_folder(out)
    network = read(path, options)
    if clips is not None:
        network = bounded(network, clips)
    folded, proofs = _folded(network, None if clips is None else clips.first(CHECKS.parity_clips).frames)
    fitted = _fit(folded, targets, calibration)
    with replacing_folder(out) as folder:
        save_network(folded, folder / "folded")
        kept = ["folded.json", "folded.safetensors"]
        written = {made.chip.name: write_chip(made, folder / made.chip.name) for made in fitted}
        report: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "spikefold": __version__,
            "source": {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
            "options": options.model_dump(mode="json"),
            "semantics": asdict(options.semantics()),
            "input": asdict(network.input),
            "classes": network.classes,
            "identity": identity(folded),
            "passes": proofs,
            "chips": written,
            "accuracy": {},
            "parity": {},
            "not_run": [],
            "artefacts": kept + [file for chip in written.values() for file in chip["artefacts"]],
        }
        failures: list[str] = []
        if clips is None:
            report["not_run"] = [
                {"what": what, "why": WHY_NOT} for what in ("parity", "accuracy", "proof of the folds")
            ]
        else:
            runs = {"real": network} | {made.chip.name: made.integer for made in fitted}
            report["accuracy"] = accuracies(runs, clips, reporter)
            networks = {made.chip.name: (made.real, made.integer) for made in fitted}
            frames = clips.first(CHECKS.parity_clips).frames
            compared = compare_runners(networks, frames, CHECKS.vendor_clips, reporter)
            report["parity"] = {name: parity.to_json() for name, parity in compared.items()}
            failures = [failure for parity in compared.values() for failure in parity.failures()]
        write_json(folder / REPORT, report)
    reporter.line(f"exported {path.name} to {', '.join(written)}: folded network {report['identity'][:12]}")
    if failures:
        raise MismatchError(
            "; ".join(failures), where=str(out), hint=f"both states are in {REPORT}; use no file of it"
        )
    return report


def clips_of(
    source: str, path: Path, options: NirOptions, reporter: Reporter
) -> tuple[NirOptions, ClipSet, np.ndarray]:
    """Recordings of a data set as clips of the file's input.

    Args:
        source: ``npz:DIR`` or another of `spikefold.train.data.datasets`.
        path: the ``.nir`` file.
        options: as for `export_file`; the recordings decide ``dt_us`` and ``max_count`` where they are open.
        reporter: told about long work.

    Returns:
        The options with what was chosen for the recordings, the test clips, some training frames for calibration.

    Raises:
        DataError: recordings that do not give frames of the network's input shape.
    """
    shape = read(path, options).input.shape
    config = DataConfig(source=source, steps=options.steps, dt_us=options.dt_us, max_count=options.max_count)
    dataset = load_dataset(config, 0, reporter.progress)
    binning, training, test = fitted_clips(dataset, shape, config, SAMPLE_CLIPS)
    chosen = options.model_copy(update={"dt_us": binning.dt_us, "max_count": binning.max_count})
    return chosen, test, training.frames


def bounded(network: Network, clips: ClipSet) -> Network:
    """The network with the most events an input that these clips hold, where it did not say.

    Raises:
        DataError: clips of another shape, more events than the network allows, labels without a class.
    """
    spec, shape = network.input, clips.frames.shape
    if not len(clips) or (shape[0], *shape[2:]) != (spec.steps, *spec.shape):
        raise DataError(
            f"clips {shape} do not fit {spec.steps} steps of {spec.shape}", hint="bin them for this network"
        )
    most, labels = int(clips.frames.max()), clips.labels
    if spec.max_count is not None and most > spec.max_count:
        raise DataError(f"clips with {most} events an input and step, max_count is {spec.max_count}", hint="raise it")
    if labels.min() < 0 or labels.max() >= network.classes:
        raise DataError(
            f"labels {labels.min()} to {labels.max()} for {network.classes} classes",
            where="labels",
            hint="say classes=N where several output neurons vote for a class",
        )
    return replace(network, input=replace(spec, max_count=spec.max_count or max(most, 1)))


def _folded(network: Network, frames: np.ndarray | None) -> tuple[Network, list[dict[str, Any]]]:
    proofs: list[dict[str, Any]] = []
    for step in (*FOLDS, uniform_thresholds):
        after = step(network)
        if after is not network:
            proof = {"proof": f"NOT RUN: {WHY_NOT}"} if frames is None else flips(network, after, frames).to_json()
            proofs.append({"pass": step.__name__, **proof})
            network = after
    return network, proofs


def _fit(folded: Network, targets: Sequence[Chip], calibration: np.ndarray | None) -> list[ChipNetwork]:
    fitted, issues = [], []
    for chip in targets:
        try:
            made = chip_network(folded, chip, calibration)
        except UnsupportedError as error:
            found: Sequence[Issue] = error.issues or (Issue(error.what, error.where, "as said", "none", error.hint),)
        else:
            fitted.append(made)
            found = chip.violations(made.integer)
        issues += [replace(issue, where=f"{chip.name}: {issue.where}") for issue in found]
    if issues:
        names = sorted({issue.where.partition(":")[0] for issue in issues})
        fits = [chip.name for chip in targets if chip.name not in names]
        hint = f"it fits {', '.join(fits)}: export to that alone" if fits else ""
        raise UnsupportedError(f"the network does not fit {', '.join(names)}", issues=issues, hint=hint)
    return fitted


def accuracies(networks: Mapping[str, Network], clips: ClipSet, reporter: Reporter) -> dict[str, Any]:
    """Accuracy and spikes of each network over all clips, by name."""
    found = {}
    for name, network in networks.items():
        trace = clocked.run(network, clips.frames)
        right = accuracy(trace.output_counts(network.classes), clips.labels)
        layers = {key: layer.spikes for key, layer in trace.layers.items()}
        found[name] = {
            "accuracy": right.share,
            "interval": list(right.interval),
            "clips": right.clips,
            "spikes": trace.spikes,
            "layers": layers,
        }
        reporter.line(f"{name}: accuracy {right.share:.3f} on {right.clips} clips, {trace.spikes} spikes")
    return found


def check_folder(out: Path) -> None:
    """Refuse a folder that cannot be written, or that holds anything but an earlier export.

    Raises:
        DataError: so.
    """
    if not out.exists():
        beside = next(parent for parent in out.resolve().parents if parent.exists())
        if not beside.is_dir() or not os.access(beside, os.W_OK):
            raise DataError("cannot write there", where=str(out), hint="choose another --out")
        return
    earlier = out.is_dir() and (out / REPORT).is_file() and _is_export(out / REPORT)
    if not earlier and not (out.is_dir() and not any(out.iterdir())):
        raise DataError("something else is there, and would be lost", where=str(out), hint="choose another --out")


def _is_export(path: Path) -> bool:
    """Whether a file is the ``export.json`` of a network trained elsewhere, which has a source."""
    found = read_json(path, hint="choose another --out")
    return isinstance(found, dict) and "source" in found
