# SPDX-License-Identifier: Apache-2.0
"""Counts what a network takes of Speck's cores: words used and there, layer by layer, where `place` puts it."""

from __future__ import annotations

from spikefold.export.network import Network
from spikefold.hardware.chip import Resources, Use
from spikefold.hardware.speck.cores import CORES, CoreLayer, layout
from spikefold.hardware.speck.placement import place
from spikefold.hardware.speck.split import split_to_fit, splits


def resources(network: Network) -> Resources:
    """Cores and memory of each weight layer, split as `split_to_fit` does.

    Returns:
        ``memory`` in words of the fullest core of a layer, ``placement`` by the spiking layers of the split network.

    Raises:
        UnsupportedError: the network has no place on the chip.
    """
    divided, fitted = splits(network), split_to_fit(network)
    cores = place(fitted).cores
    placed = {layer.name: layer for layer in layout(fitted).cores}
    uses = []
    for layer in layout(network).cores:
        parts = [f"{layer.name}.{number}" for number in range(len(divided.get(layer.name, ())))] or [layer.name]
        shares = [_words(placed[part], cores[placed[part].neuron_name]) for part in parts]
        memory = max(shares, key=lambda words: max(_share(pair) for pair in words.values()))
        uses.append(Use(layer.name, len(parts), memory, max(memory, key=lambda name: _share(memory[name]))))
    return Resources(tuple(uses), 1, "one layer a core, nine cores", False, cores)


def _words(layer: CoreLayer, core: int) -> dict[str, tuple[int, int]]:
    need, have = layer.memory, CORES[core]
    return {name: (getattr(need, name), getattr(have, name)) for name in ("kernel", "neuron", "bias")}


def _share(pair: tuple[int, int]) -> float:
    return pair[0] / pair[1]
