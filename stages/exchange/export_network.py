# SPDX-License-Identifier: Apache-2.0
"""A real network trained elsewhere, to the files of each chip, in one folder.

It holds::

    OUT/  export.json  folded.{json,safetensors}  CHIP/  network.{json,safetensors} and the chip's own files

It goes the way of a run behind its training: folds (`passes.fold`), one threshold a layer where a channel had its
own, what a chip lacks rewritten (`hardware.rewrites`), integers, the chip's rules, its files. With labelled clips
each step is proven in float64, all runners of each chip are compared spike for spike, and accuracies are measured;
without them ``export.json`` says NOT RUN, and why. A chip that refuses the network does not keep the others from
their files: ``export.json`` holds its reasons, and the error comes at the end.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from spikefold import __version__
from spikefold.config import ChipsConfig
from spikefold.errors import ConfigError, DataError, Issue, MismatchError, UnsupportedError
from spikefold.export.io import identity, save_network
from spikefold.export.network import Network
from spikefold.export.passes.fold import FOLDS
from spikefold.export.passes.uniform_thresholds import uniform_thresholds
from spikefold.files import read_json, replacing_folder, write_json
from spikefold.hardware.chip import Chip
from spikefold.hardware.registry import chip_named
from spikefold.hardware.simulators import clocked
from spikefold.hardware.simulators.accuracy import accuracy
from spikefold.session import Reporter
from spikefold.stages.chip_files import NOT_PROVEN, ChipNetwork, chip_network, compare_runners, proof_of, write_chip
from spikefold.stages.exchange.foreign import Foreign
from spikefold.train.data.clips import ClipSet

SCHEMA_VERSION = 1
REPORT = "export.json"
CHECKS = ChipsConfig()
"""How many clips every runner and the vendor's simulator are given, as in a run by default."""
WHY_NOT = "no labelled recordings were given (--data)"


@dataclass(frozen=True, eq=False)
class Fitted:
    """A network in the form of each chip that takes it, and why the others do not.

    Attributes:
        real: as it came, its counts bounded by the clips.
        folded: before any chip.
        passes: each fold with its proof.
        chips: one entry for each chip that takes it.
        refused: by chip, everything that keeps it from taking it.
    """

    real: Network
    folded: Network
    passes: tuple[dict[str, Any], ...]
    chips: tuple[ChipNetwork, ...]
    refused: dict[str, tuple[Issue, ...]]

    def refusal(self, written: str = "") -> UnsupportedError | None:
        """The error with the reasons of all chips that refuse; None where none does."""
        if not self.refused:
            return None
        issues = [
            replace(issue, where=f"{name}: {issue.where}") for name, found in self.refused.items() for issue in found
        ]
        names = ", ".join(self.refused)
        return UnsupportedError(f"the network does not fit {names}", issues=issues, hint=written)


def export_network(
    found: Foreign,
    chips: Sequence[str],
    out: Path,
    reporter: Reporter,
    clips: ClipSet | None = None,
    calibration: np.ndarray | None = None,
    tell: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Export a network to every chip named; the content of ``export.json``.

    Args:
        found: the network and where it is from.
        chips: names of the targets.
        out: the folder, which appears whole or not at all; an earlier export there is replaced.
        reporter: told each finished fact.
        clips: test frames ``(T, N, C, H, W)`` and a label each.
        calibration: training frames for the search of the scales; None: the largest weight decides.
        tell: given the content once it is written, before any error that comes of it.

    Raises:
        ConfigError: no chip, or an unknown one.
        DataError: the clips do not fit the network, the folder holds something else.
        UnsupportedError: a chip does not take it, with every rule that it breaks. What fits was written before.
        MismatchError: a comparison failed. Where spikes differ, the evidence was written before.
    """
    for name in chips:
        chip_named(name).require_files()
    check_folder(out)
    made = fitted(found.network, chips, clips, calibration)
    if not made.chips and (refusal := made.refusal()) is not None:
        raise refusal
    about = {key: value for key, value in found.about.items() if key != "said"}
    with replacing_folder(out) as folder:
        save_network(made.folded, folder / "folded")
        kept = ["folded.json", "folded.safetensors"]
        made, written = _written(made, folder)
        report: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "spikefold": __version__,
            **about,
            "input": asdict(made.real.input),
            "classes": made.real.classes,
            "identity": identity(made.folded),
            "passes": list(made.passes),
            "chips": written,
            "refused": {name: [asdict(issue) for issue in issues] for name, issues in made.refused.items()},
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
            runs = {"real": made.real} | {one.chip.name: one.integer for one in made.chips}
            report["accuracy"] = accuracies(runs, clips, reporter)
            networks = {one.chip.name: (one.real, one.integer) for one in made.chips}
            frames = clips.first(CHECKS.parity_clips).frames
            compared = compare_runners(networks, frames, CHECKS.vendor_clips, reporter)
            report["parity"] = {name: parity.to_json() for name, parity in compared.items()}
            failures = [failure for parity in compared.values() for failure in parity.failures()]
        write_json(folder / REPORT, report)
    reporter.line(f"exported {found.name} to {', '.join(written)}: folded network {report['identity'][:12]}")
    if tell is not None:
        tell(report)
    if failures:
        raise MismatchError(
            "; ".join(failures), where=str(out), hint=f"both states are in {REPORT}; use no file of it"
        )
    if (refusal := made.refusal(f"written: {', '.join(written)}, in {out}")) is not None:
        raise refusal
    return report


def _written(made: Fitted, folder: Path) -> tuple[Fitted, dict[str, Any]]:
    """The files of each chip; a chip whose vendor's tool refuses the network joins those that refuse it.

    Raises:
        UnsupportedError: no chip is left.
    """
    written: dict[str, Any] = {}
    refused = dict(made.refused)
    for one in made.chips:
        name = one.chip.name
        try:
            written[name] = write_chip(one, folder / name)
        except UnsupportedError as error:
            shutil.rmtree(folder / name)
            refused[name] = _issues(error)
    left = replace(made, chips=tuple(one for one in made.chips if one.chip.name in written), refused=refused)
    if not written and (refusal := left.refusal()) is not None:
        raise refusal
    return left, written


def _issues(error: UnsupportedError) -> tuple[Issue, ...]:
    return tuple(error.issues) or (Issue(error.what, error.where, "as said", "none", error.hint),)


def fitted(network: Network, chips: Sequence[str], clips: ClipSet | None, calibration: np.ndarray | None) -> Fitted:
    """The network folded, and in each chip's integers where the chip takes it.

    Args:
        network: real.
        chips: names of the targets.
        clips: on the first of which each fold is proven; None: nothing is proven.
        calibration: training frames for the search of the scales.

    Raises:
        ConfigError: no chip, or an unknown one.
        DataError: the clips do not fit the network.
        UnsupportedError: the network cannot be folded.
        MismatchError: a fold changed a spike by more than rounding can.
    """
    targets = [chip_named(name) for name in dict.fromkeys(chips)]
    if not targets:
        raise ConfigError("no chip to export to", where="--chip")
    proven = None
    if clips is not None:
        network = bounded(network, clips)
        proven = clips.first(CHECKS.parity_clips).frames
    folded, proofs = _folded(network, proven)
    made, refused = [], {}
    for chip in targets:
        one, issues = _on_chip(folded, chip, calibration, proven)
        if one is None or issues:
            refused[chip.name] = tuple(issues)
        else:
            made.append(one)
    return Fitted(network, folded, tuple(proofs), tuple(made), refused)


def _on_chip(
    folded: Network, chip: Chip, calibration: np.ndarray | None, proven: np.ndarray | None
) -> tuple[ChipNetwork | None, list[Issue]]:
    try:
        made = chip_network(folded, chip, calibration, proven)
    except UnsupportedError as error:
        return None, list(_issues(error))
    return made, chip.violations(made.integer)


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
            proof = {"proof": NOT_PROVEN} if frames is None else proof_of(network, after, frames)
            proofs.append({"pass": step.__name__, **proof})
            network = after
    return network, proofs


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
