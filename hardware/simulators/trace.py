# SPDX-License-Identifier: Apache-2.0
"""Holds `Trace`, what one run of a network did. Every runner returns one, whatever it runs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spikefold.errors import DataError, UnsupportedError
from spikefold.npz import read_arrays, write_arrays

MOST_COUNT = 2**16 - 1
"""The most spikes of one neuron in one time step that a raster of uint16 can hold."""


def as_raster(spikes: np.ndarray, where: str) -> np.ndarray:
    """Spike counts as the uint16 of a raster, for every simulator alike; nothing wraps.

    Args:
        spikes: whole numbers, 0 or more, of any shape and type.
        where: the spiking layer, for the error.

    Raises:
        UnsupportedError: a neuron has more spikes in one time step than a raster can hold, or fewer than none.
    """
    most = spikes.max(initial=0)
    if most > MOST_COUNT:
        raise UnsupportedError(
            f"{most:.0f} spikes of one neuron in one time step, {MOST_COUNT} can be recorded",
            where=where,
            hint="use shorter time steps, or a higher threshold",
        )
    if spikes.min(initial=0) < 0:
        raise UnsupportedError("a count of spikes below 0", where=where, hint="a simulator gave what is no count")
    return spikes.astype(np.uint16)


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """One spiking layer over one batch of clips.

    Attributes:
        raster: spikes per neuron and step, ``(T, N, C, H, W)``, unsigned integers.
        v_range: lowest and highest state seen, in the runner's unit; None where it cannot tell.
        overflow: how often the state left its width.
        potentials: state after each step, ``(T, N, C, H, W)``; recorded on demand only.
    """

    raster: np.ndarray
    v_range: tuple[float, float] | None = None
    overflow: int = 0
    potentials: np.ndarray | None = None

    @property
    def spikes(self) -> int:
        """All spikes of this layer."""
        return int(self.raster.sum(dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Trace:
    """One run: the runner's name and its spiking layers by name, in network order."""

    runner: str
    layers: Mapping[str, LayerTrace]

    @property
    def spikes(self) -> int:
        """All spikes of all layers."""
        return sum(layer.spikes for layer in self.layers.values())

    def output_counts(self, classes: int) -> np.ndarray:
        """Spikes per clip and class ``(N, classes)``: the last layer's neurons, split in equal groups."""
        raster = list(self.layers.values())[-1].raster
        per_neuron = raster.sum(axis=0, dtype=np.int64).reshape(raster.shape[1], classes, -1)
        counts: np.ndarray = per_neuron.sum(axis=2)
        return counts


def never_fired(trace: Trace) -> dict[str, np.ndarray]:
    """By spiking layer, ``(C,)``: the channels without a single spike in this run."""
    return {name: np.logical_not(layer.raster.any(axis=(0, 1, 3, 4))) for name, layer in trace.layers.items()}


def alive_in(trace: Trace) -> dict[str, np.ndarray]:
    """What `remove_silent_channels` keeps: every channel that fired in this run, and all of the output."""
    silent = never_fired(trace)
    return {name: ~silent[name] for name in list(silent)[:-1]}


def concatenate(traces: Sequence[Trace]) -> Trace:
    """Batches of one runner joined along N."""
    first = traces[0]
    layers = {}
    for name in first.layers:
        parts = [trace.layers[name] for trace in traces]
        ranges = [part.v_range for part in parts if part.v_range is not None]
        potentials = [part.potentials for part in parts if part.potentials is not None]
        layers[name] = LayerTrace(
            np.concatenate([part.raster for part in parts], axis=1),
            (min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else None,
            sum(part.overflow for part in parts),
            np.concatenate(potentials, axis=1) if potentials else None,
        )
    return Trace(first.runner, layers)


def save_trace(trace: Trace, path: Path) -> None:
    """Write rasters and ranges as ``.npz``, by rename; binary rasters are packed eight to a byte."""
    arrays: dict[str, np.ndarray] = {"runner": np.array(trace.runner), "layers": np.array(list(trace.layers))}
    for name, layer in trace.layers.items():
        binary = layer.raster.max(initial=0) <= 1
        arrays[f"{name}/shape"] = np.array(layer.raster.shape)
        arrays[f"{name}/bits" if binary else f"{name}/counts"] = (
            np.packbits(layer.raster.astype(bool)) if binary else layer.raster
        )
        arrays[f"{name}/overflow"] = np.array(layer.overflow)
        if layer.v_range is not None:
            arrays[f"{name}/v_range"] = np.array(layer.v_range)
    write_arrays(path, arrays)


def load_trace(path: Path) -> Trace:
    """Read what `save_trace` wrote.

    Raises:
        DataError: the file is missing or damaged.
    """
    archive = read_arrays(path, "the trace")
    try:
        layers = {str(name): _load_layer(archive, str(name)) for name in archive["layers"]}
        return Trace(str(archive["runner"]), layers)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise DataError(
            f"cannot read the trace: {error}", where=str(path), hint="run `spikefold simulate`"
        ) from error


def _load_layer(archive: Mapping[str, np.ndarray], name: str) -> LayerTrace:
    shape = tuple(int(n) for n in archive[f"{name}/shape"])
    if f"{name}/bits" in archive:
        bits = np.unpackbits(archive[f"{name}/bits"], count=int(np.prod(shape)))
        raster = bits.reshape(shape).astype(np.uint16)
    else:
        raster = archive[f"{name}/counts"]
    v_range = archive.get(f"{name}/v_range")
    return LayerTrace(
        raster, None if v_range is None else (float(v_range[0]), float(v_range[1])), int(archive[f"{name}/overflow"])
    )
