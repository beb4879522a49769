# SPDX-License-Identifier: Apache-2.0
"""Replaces the neurons of a network where its chip lacks them. This changes the function of the network.

A leaky neuron becomes integrate-and-fire on a chip without a leak. It forgets nothing and would fire more often. The
threshold of each layer is therefore multiplied by the factor with which the layer fires as often as before, on
calibration clips and behind the layers that were replaced before it. The factor is found by bisection between 1 and
``2^5``; it is never below 1, because without a leak no state is smaller. A reset that the chip lacks becomes a reset
to zero, and several spikes a step become one. Fine-tuning (`adapt`) compensates the rest of the difference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spikefold.export.network import Network
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.numbers import NumberFormat
from spikefold.hardware.simulators import clocked

_MOST_DOUBLINGS = 5.0
_BISECTIONS = 7


@dataclass(frozen=True)
class Replaced:
    """The change of one layer.

    Attributes:
        layer: its name.
        what: the replaced properties, in words.
        threshold_factor: the factor on its threshold.
        spikes_before: its spikes a clip with the neurons that were trained.
        spikes_after: its spikes a clip with the neurons of the chip.
    """

    layer: str
    what: str
    threshold_factor: float
    spikes_before: float
    spikes_after: float


def for_chip(
    network: Network, chip: NumberFormat, frames: np.ndarray, *, several: bool = False
) -> tuple[Network, tuple[Replaced, ...]]:
    """Give a network neurons that the chip has; the same object is returned where it has them all.

    Args:
        network: a real network.
        chip: the number format of the target.
        frames: the calibration clips ``(T, N, C, H, W)``.
        several: whether neurons may fire several times a step where the chip can do that.
    """
    if not any(isinstance(la.op, Neuron) and _nearest(la.op, chip, several)[1] for la in network):
        return network, ()
    clips = frames.shape[1]
    wanted = clocked.run(network, frames)
    done = []
    for layer in network.neurons:
        neuron = layer.op
        if not isinstance(neuron, Neuron):
            continue
        other, what = _nearest(neuron, chip, several)
        if not what:
            continue
        target, factor = wanted.layers[layer.name].spikes, 1.0
        if neuron.leak is not None and other.leak is None:
            factor = _matching(network, layer.name, other, frames, target)
        network = _with(network, layer.name, other, factor)
        spikes = clocked.run(network, frames).layers[layer.name].spikes
        done.append(Replaced(layer.name, ", ".join(what), factor, target / clips, spikes / clips))
    return replace(network, history=(*network.history, "target_neuron")), tuple(done)


def _nearest(neuron: Neuron, chip: NumberFormat, several: bool) -> tuple[Neuron, list[str]]:
    changes: list[str] = []
    if neuron.leak is not None and chip.leak_shift is None:
        neuron, changes = replace(neuron, leak=None), [*changes, "leak -> none"]
    if neuron.reset not in chip.resets:
        changes.append(f"reset {neuron.reset.value} -> zero")
        neuron = replace(neuron, reset=Reset.ZERO, reset_value=0.0)
    if neuron.max_spikes != 1 and not chip.multi_spike:
        neuron, changes = replace(neuron, max_spikes=1), [*changes, "several spikes a step -> one"]
    if several and chip.multi_spike and neuron.max_spikes is not None:
        neuron, changes = replace(neuron, max_spikes=None), [*changes, "spikes a step -> as many as fit"]
    return neuron, changes


def _matching(network: Network, name: str, neuron: Neuron, frames: np.ndarray, target: int) -> float:
    low, high = 0.0, _MOST_DOUBLINGS
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        spikes = clocked.run(_with(network, name, neuron, 2**middle), frames).layers[name].spikes
        low, high = (middle, high) if spikes > target else (low, middle)
    return float(2**high)


def _with(network: Network, name: str, neuron: Neuron, factor: float) -> Network:
    changed = replace(neuron, threshold=neuron.threshold * factor)
    layers = tuple(replace(la, op=changed) if la.name == name else la for la in network)
    return replace(network, layers=layers)
