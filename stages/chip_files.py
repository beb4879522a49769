# SPDX-License-Identifier: Apache-2.0
"""What each chip gets, in a run and from a file alike: its integers, its files, and all runners compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spikefold.errors import UnsupportedError
from spikefold.export.io import identity, save_network
from spikefold.export.network import Network
from spikefold.export.ops import Conv2d, Dense
from spikefold.export.passes.clip_outliers import Clipped, clip_outliers
from spikefold.export.passes.quantise import LayerScale, quantise
from spikefold.hardware.chip import Chip
from spikefold.hardware.registry import chip_named
from spikefold.hardware.rewrites import rewritten
from spikefold.hardware.simulators import clocked, parity, reference
from spikefold.hardware.simulators.flips import flips
from spikefold.hardware.simulators.parity import Parity
from spikefold.hardware.simulators.reference import gathered
from spikefold.session import Reporter

SAMPLE_CLIPS = 10
"""Training clips on which the scales are searched."""
NETWORK_FILE = "network"
"""A chip's integer network, in its folder of the export."""
NOT_PROVEN = "NOT RUN: no labelled recordings were given (--data)"
ON_CORES = "on_cores"
"""The integer network as the chip runs it, where that is another form."""
_SAMPLE_FRAMES = 64
WHAT = {
    "fold_batchnorm_before": "batch norm on spikes is in the weights behind it",
    "fold_spike_pooling": "average pools on spikes are sum pools, their factor in the weights behind them",
    "norms_first": "batch norm stands before the pools between weights and neurons",
    "fold_batchnorm": "batch norm is in the weights before it",
    "fold_pooling": "average pools between weights and neurons are strides of larger kernels",
    "fold_attention": "static attention is in the weights and thresholds",
    "uniform_thresholds": "channels are rescaled to one threshold a layer",
    "pool_into_weights": "sum pools are in the weights behind them",
    "maxpool_to_or": "max pools of binary spikes are neurons that fire when any input does",
    "expand_kernels": "groups and dilation are written out with zeros",
    "square_kernels": "kernels are padded with zeros to squares",
}
"""What each rewrite did, for people."""


@dataclass(frozen=True, eq=False)
class ChipNetwork:
    """A network in one chip's integers.

    Attributes:
        chip: the target.
        real: folded, with the chip's neurons, its outliers clipped.
        integer: what the chip runs.
        scales: how each layer was scaled.
        clipped: the weights that the search of the scales cut off.
        passes: the rewrites that the chip needed, each with its proof.
    """

    chip: Chip
    real: Network
    integer: Network
    scales: tuple[LayerScale, ...]
    clipped: tuple[Clipped, ...] = ()
    passes: tuple[Mapping[str, Any], ...] = ()


def chip_network(
    network: Network, chip: Chip, frames: np.ndarray | None, proven: np.ndarray | None = None
) -> ChipNetwork:
    """Rewrite for one chip what the chip lacks, and quantise.

    Args:
        network: real, folded, with the chip's neurons.
        chip: the target.
        frames: calibration clips ``(T, N, C, H, W)`` for the search of the scales; None: the largest weight decides.
        proven: clips on which each rewrite is proven; ``frames`` by default, and nothing where there are none either.

    Raises:
        UnsupportedError: everything that a rewrite or the quantiser cannot do. The chip's rules are not asked here.
        MismatchError: a rewrite changed a spike by more than rounding can.
    """
    made = rewritten(network, chip)
    if made.issues:
        raise UnsupportedError(f"the network cannot be rewritten for {chip.title}", issues=made.issues)
    network, proven = made.network, frames if proven is None else proven
    passes = tuple(
        pass_entry(name, before, after, {"proof": NOT_PROVEN} if proven is None else proof_of(before, after, proven))
        for name, before, after in made.steps
    )
    clipped: tuple[Clipped, ...] = ()
    if frames is not None:
        network, clipped = clip_outliers(network, chip.numbers, layer_inputs(network, frames), reference.apply)
    integer, scales = quantise(network, chip.numbers)
    return ChipNetwork(chip, network, integer, tuple(scales), tuple(clipped), passes)


def pass_entry(name: str, before: Network, after: Network, proof: Mapping[str, Any]) -> dict[str, Any]:
    """A pass for a report: its name, what it does, the layers that it changed, made or took away, and its proof."""
    old, new = ({layer.name: layer.op for layer in network} for network in (before, after))
    changed = [layer for layer in {**old, **new} if old.get(layer) is not new.get(layer)]
    return {"pass": name, "what": WHAT.get(name, "rewritten"), "changed": changed, **proof}


def proof_of(before: Network, after: Network, frames: np.ndarray) -> dict[str, Any]:
    """The proof of one pass, for a report: both networks run in float64, and every flip is explained.

    Raises:
        MismatchError: a spike flipped further from its threshold than rounding can bring it.
    """
    found = flips(before, after, frames)
    return {"flips": len(found.roots) + found.consequences} | found.to_json()


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


def write_chip(made: ChipNetwork, folder: Path) -> dict[str, Any]:
    """Write one chip's folder; what a report says of it."""
    name = made.chip.name
    folder.mkdir()
    save_network(made.real, folder / "real")
    kept = write_integers(made, folder, NETWORK_FILE)
    lowered = made.chip.require_files()(made.real, made.integer, folder)
    return {
        "title": made.chip.title,
        "identity": identity(made.integer),
        "notes": list(lowered.notes),
        "scales": [scale.to_json() for scale in made.scales],
        "clipped": [entry.to_json() for entry in made.clipped],
        "placement": dict(lowered.placement),
        "passes": [dict(entry) for entry in made.passes],
        "artefacts": [f"{name}/{file}" for file in (*kept, *lowered.files)],
    }


def write_integers(made: ChipNetwork, folder: Path, name: str) -> list[str]:
    """Write an integer network and, where the chip runs it in another form, that form; the names of the files."""
    save_network(made.integer, folder / name)
    written = [name]
    laid_out = made.chip.laid_out(made.integer) if made.chip.laid_out else made.integer
    if laid_out is not made.integer:
        written.append(_on_cores(name))
        save_network(laid_out, folder / written[-1])
    return [f"{file}.{ending}" for file in written for ending in ("json", "safetensors")]


def network_on_chip(folder: Path, name: str = NETWORK_FILE) -> Path:
    """The file of an integer network in the form in which the chip runs it, in a chip's exported folder."""
    laid_out = folder / _on_cores(name)
    return laid_out if laid_out.with_suffix(".json").is_file() else folder / name


def _on_cores(name: str) -> str:
    return ON_CORES if name == NETWORK_FILE else f"{name}_{ON_CORES}"


def compare_runners(
    networks: Mapping[str, tuple[Network, Network]],
    frames: np.ndarray,
    vendor_clips: int,
    reporter: Reporter,
    *,
    allow_silent: bool = False,
) -> dict[str, Parity]:
    """Every runner of each chip on the same clips, spike for spike.

    Args:
        networks: by chip, its real and its integer network.
        frames: ``(T, N, C, H, W)``.
        vendor_clips: how many of the clips the vendor's simulator is given, where the chip has one.
        reporter: told each comparison.
        allow_silent: a layer that never fires is a failure in the result, and the others are compared all the same.

    Raises:
        MismatchError: a runner does not report every layer, or a layer never fires. Spikes that differ are in the
            result, for the evidence must be written first.
    """
    found = {}
    for name, (real, integer) in networks.items():
        simulator = chip_named(name).vendor_simulator
        vendor = None if simulator is None else simulator(real, integer)
        found[name] = parity.check(name, integer, frames, vendor, vendor_clips, allow_silent=allow_silent)
        for comparison in found[name].comparisons:
            reporter.line(f"{name}: {comparison.describe()}")
    return found
