# SPDX-License-Identifier: Apache-2.0
"""A real network trained elsewhere, to the files of each chip, in one folder.

It holds::

    OUT/  export.json  folded.{json,safetensors}  CHIP/  network.{json,safetensors} and the chip's own files
          report.html  energy.json                where a page is asked for

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
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from spikefold import __version__
from spikefold.config import Config
from spikefold.errors import DataError, MismatchError, UnsupportedError
from spikefold.export.io import identity, save_network
from spikefold.export.network import Network
from spikefold.files import read_json, replacing_folder, write_json
from spikefold.hardware.registry import chip_named
from spikefold.hardware.simulators import clocked
from spikefold.hardware.simulators.accuracy import accuracy
from spikefold.session import Reporter
from spikefold.stages.chip_files import compare_runners, write_chip
from spikefold.stages.exchange.fitted import CHECKS, Fitted, fitted, issues_of
from spikefold.stages.exchange.foreign import Foreign
from spikefold.stages.exchange.page import write_page
from spikefold.stages.exchange.tuned import Tuning
from spikefold.train.data.clips import ClipSet

SCHEMA_VERSION = 1
REPORT = "export.json"
WHY_NOT = "no labelled recordings were given (--data)"


def export_network(
    found: Foreign,
    chips: Sequence[str],
    out: Path,
    reporter: Reporter,
    clips: ClipSet | None = None,
    calibration: np.ndarray | None = None,
    tell: Callable[[dict[str, Any]], None] | None = None,
    *,
    tuning: Tuning | None = None,
    page: Config | None = None,
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
        tuning: tunes it to the chips that lack its neurons; None: those refuse it.
        page: the settings by which operations are counted and priced for ``report.html``; None: no page is written.

    Raises:
        ConfigError: no chip, or an unknown one.
        DataError: the clips do not fit the network, the folder holds something else.
        UnsupportedError: a chip does not take it, with every rule that it breaks. What fits was written before.
        MismatchError: a comparison failed. Where spikes differ, the evidence was written before.
    """
    for name in chips:
        chip_named(name).require_files()
    check_folder(out)
    made = fitted(found.network, chips, clips, calibration, tuning)
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
            "adapted": {name: dict(one.told) for name, one in made.tuned.items()},
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
            for name, told in accuracies(made.variants(), clips, reporter).items():
                report["accuracy"][name] = told
                report["accuracy"].update(made.tuned[name].quoted if name in made.tuned else {})
            networks = {one.chip.name: (one.real, one.integer) for one in made.chips}
            frames = clips.first(CHECKS.parity_clips).frames
            compared = compare_runners(networks, frames, CHECKS.vendor_clips, reporter)
            report["parity"] = {name: parity.to_json() for name, parity in compared.items()}
            failures = [failure for parity in compared.values() for failure in parity.failures()]
            if page is not None:
                report["artefacts"] += write_page(folder, found.name, report, made.counted(), clips, page, reporter)
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
            refused[name] = issues_of(error)
    left = replace(made, chips=tuple(one for one in made.chips if one.chip.name in written), refused=refused)
    if not written and (refusal := left.refusal()) is not None:
        raise refusal
    return left, written


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
