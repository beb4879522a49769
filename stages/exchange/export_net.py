# SPDX-License-Identifier: Apache-2.0
"""A network made with lava-dl, from its ``.net`` file: checked against its chip, simulated, compared, counted.

It holds::

    OUT/  export.json  CHIP/  network.{json,safetensors} network.net network.py

The file holds the chip's own integers, so nothing is folded or rounded, and no other chip can take them. With
labelled clips every runner is compared spike for spike and operations are counted; without them ``export.json`` says
NOT RUN.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from spikefold import __version__
from spikefold.config import Config
from spikefold.energy.counts.count import count
from spikefold.errors import MismatchError, UnsupportedError
from spikefold.export.io import identity, save_network
from spikefold.export.network import Network
from spikefold.files import replacing_folder, write_json
from spikefold.hardware.registry import reader_of
from spikefold.hardware.simulators import clocked
from spikefold.session import Reporter
from spikefold.stages.chip_files import compare_runners
from spikefold.stages.exchange.export_network import REPORT, WHY_NOT, accuracies, check_folder
from spikefold.stages.exchange.fitted import CHECKS, bounded
from spikefold.stages.exchange.foreign import opened
from spikefold.stages.exchange.page import write_page
from spikefold.stages.exchange.source import Asked
from spikefold.train.data.clips import ClipSet

SCHEMA_VERSION = 1
KIND = "net"
"""Of the file: the suffix by which the registry finds the chip in whose integers it is."""


def export_net(
    path: Path,
    out: Path,
    network: Network,
    reporter: Reporter,
    clips: ClipSet | None = None,
    tell: Callable[[dict[str, Any]], None] | None = None,
    *,
    page: Config | None = None,
) -> dict[str, Any]:
    """Check, write and, with clips, prove an imported network; the content of ``export.json``.

    Args:
        path: the ``.net`` file.
        out: the folder, which appears whole or not at all; an earlier export there is replaced.
        network: what was read of the file; ``max_count`` is counted in the clips where clips are given.
        reporter: told each finished fact.
        clips: test frames ``(T, N, C, H, W)`` and a label each.
        tell: given the content once it is written, before any error that comes of it.
        page: the settings by which operations are priced for ``report.html``; None: no page is written.

    Raises:
        DataError: the clips do not fit the network, the folder holds something else.
        UnsupportedError: every rule of the chip that the network breaks.
        MismatchError: spikes differ; the evidence was written before.
    """
    check_folder(out)
    if clips is not None:
        most = max(int(clips.frames.max(initial=0)), 1)
        network = bounded(replace(network, input=replace(network.input, max_count=most)), clips)
    chip, _ = reader_of(KIND)
    name = chip.name
    if violations := chip.violations(network):
        raise UnsupportedError(f"{path.name} does not fit {chip.title}", where=name, issues=violations)
    failures: list[str] = []
    with replacing_folder(out) as folder:
        (folder / name).mkdir()
        save_network(network, folder / name / "network")
        lowered = chip.require_files()(network, network, folder / name)
        files = ("network.json", "network.safetensors", *lowered.files)
        report: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "spikefold": __version__,
            "source": {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
            "input": asdict(network.input),
            "classes": network.classes,
            "identity": identity(network),
            "chips": {name: {"title": chip.title, "identity": identity(network), "notes": list(lowered.notes)}},
            "artefacts": [f"{name}/{file}" for file in files],
            "accuracy": {},
            "parity": {},
            "counts": None,
            "not_run": [],
        }
        if clips is None:
            report["not_run"] = [{"what": what, "why": WHY_NOT} for what in ("parity", "accuracy", "counts")]
        else:
            few = clips.first(CHECKS.parity_clips)
            compared = compare_runners({name: (network, network)}, few.frames, CHECKS.vendor_clips, reporter)
            failures = [failure for parity in compared.values() for failure in parity.failures()]
            report["parity"] = {key: parity.to_json() for key, parity in compared.items()}
            report["accuracy"] = accuracies({name: network}, clips, reporter)
            report["counts"] = count(network, clips.frames, clocked.run(network, clips.frames)).to_json()
            if page is not None:
                report["artefacts"] += write_page(folder, path.name, report, {name: network}, clips, page, reporter)
        write_json(folder / REPORT, report)
    reporter.line(f"exported {path.name} to {name}: {report['identity'][:12]}")
    if tell is not None:
        tell(report)
    if failures:
        raise MismatchError("; ".join(failures), where=str(out), hint=f"both states are in {REPORT}")
    return report


def imported(
    path: Path, data: str | None, reporter: Reporter, *, steps: int | None, dt_us: int | None, classes: int | None
) -> tuple[Network, ClipSet | None]:
    """The network of a file, and the test clips of a data set cut for its input.

    Args:
        path: the ``.net`` file.
        data: ``npz:DIR`` or another of `spikefold.train.data.datasets`; None for no clips.
        reporter: told about long work.
        steps: time steps of a clip, where the file does not say.
        dt_us: length of a step in microseconds; of the recordings' own length by default.
        classes: groups of output neurons; one each by default.

    Raises:
        ConfigError, DataError, UnsupportedError: as `opened`.
    """
    asked = Asked(steps=steps, dt_us=dt_us, classes=classes)
    found, clips = opened(f"{KIND}:{path}", asked, reporter, data)
    return found.network, None if clips is None else clips.test
