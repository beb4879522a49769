# SPDX-License-Identifier: Apache-2.0
"""Replaces the neurons of a network where its chip lacks them. This changes the function of the network.

A leaky neuron becomes integrate-and-fire on a chip without a leak. It forgets nothing and would fire more often. The
threshold of each layer is therefore multiplied by the factor with which the layer fires as often as before, on
calibration clips and behind the layers that were replaced before it. The factor is found by bisection between 1 and
``2^5``; it is never below 1, because without a leak no state is smaller. A reset that the chip lacks becomes a reset
to zero, more spikes a step than the chip makes become its most, and a lower bound that the chip lacks is left out.
Biases and currents that last, where the chip has none, are left out too; a layer may then fire more or less often, so
its factor is searched between ``2^-5`` and ``2^5``. Fine-tuning (`adapt`) compensates the rest of the difference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spikefold.export.network import INPUT, Layer, Network, SpikingLayer
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.numbers import NumberFormat
from spikefold.export.ops import Conv2d, Dense
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
        several: whether neurons may fire several times a step, up to the chip's most, where the chip can do that.
    """
    if not any(
        isinstance(la.op, Neuron) and (_nearest(la.op, chip, several)[1] or _biases(network, la, chip))
        for la in network
    ):
        return network, ()
    clips = frames.shape[1]
    wanted, changes = clocked.run(network, frames), {}
    for layer in network.neurons:
        neuron = layer.op
        if not isinstance(neuron, Neuron):
            continue
        other, what = _nearest(neuron, chip, several)
        if biased := _biases(network, layer, chip):
            network, what = _without_bias(network, biased), [*what, "bias -> none"]
        if not what:
            continue
        factor = 1.0
        current_gone = neuron.current is not None and other.current is None
        if biased or current_gone or (neuron.leak is not None and other.leak is None):
            # without a bias or a current a layer may fire less, without a leak only more
            lowest = -_MOST_DOUBLINGS if biased or current_gone else 0.0
            factor = _matching(network, layer.name, other, frames, wanted.layers[layer.name].spikes, lowest)
        network = _with(network, layer.name, other, factor)
        changes[layer.name] = ", ".join(what), factor
    found = clocked.run(network, frames)  # of every layer what it had when it was changed: nothing leads back
    done = [
        Replaced(name, what, factor, wanted.layers[name].spikes / clips, found.layers[name].spikes / clips)
        for name, (what, factor) in changes.items()
    ]
    return replace(network, history=(*network.history, "target_neuron")), tuple(done)


def _nearest(neuron: Neuron, chip: NumberFormat, several: bool) -> tuple[Neuron, list[str]]:
    changes: list[str] = []
    if neuron.leak is not None and chip.leak_shift is None:
        neuron, changes = replace(neuron, leak=None), [*changes, "leak -> none"]
    if neuron.reset not in chip.resets:
        changes.append(f"reset {neuron.reset.value} -> zero")
        neuron = replace(neuron, reset=Reset.ZERO, reset_value=0.0)
    if neuron.v_min is not None and chip.v_min is None:
        neuron, changes = replace(neuron, v_min=None), [*changes, "lower bound -> none"]
    if neuron.current is not None and chip.current_shift is None:
        neuron, changes = replace(neuron, current=None), [*changes, "synaptic current -> none"]
    most = chip.max_spikes
    if not chip.allows(neuron.max_spikes):
        text = "several spikes a step -> one" if most == 1 else f"spikes a step -> at most {most}"
        return replace(neuron, max_spikes=most), [*changes, text]
    if several and most != 1 and neuron.max_spikes != most:
        text = "spikes a step -> as many as fit" if most is None else f"spikes a step -> up to {most}"
        return replace(neuron, max_spikes=most), [*changes, text]
    return neuron, changes


def _biases(network: Network, layer: Layer, chip: NumberFormat) -> tuple[str, ...]:
    """The weight layers before these neurons whose biases the chip cannot have."""
    if chip.bias_bits is not None:
        return ()
    sources = {name: network[name].op for name in layer.inputs if name != INPUT}
    return tuple(name for name, op in sources.items() if isinstance(op, Conv2d | Dense) and op.bias is not None)


def _without_bias(network: Network, names: tuple[str, ...]) -> Network:
    layers = tuple(
        replace(la, op=replace(la.op, bias=None)) if la.name in names and isinstance(la.op, Conv2d | Dense) else la
        for la in network
    )
    return replace(network, layers=layers)


def _matching(
    network: Network, name: str, neuron: Neuron, frames: np.ndarray, target: int, lowest: float = 0.0
) -> float:
    low, high = lowest, _MOST_DOUBLINGS
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        tried = _with(network, name, neuron, 2**middle).up_to(name)
        spikes = clocked.run(tried, frames).layers[name].spikes
        low, high = (middle, high) if spikes > target else (low, middle)
    return float(2**high)


def _with(network: Network, name: str, neuron: Neuron, factor: float) -> Network:
    changed = replace(neuron, threshold=neuron.threshold * factor)
    layers = tuple(replace(la, op=changed) if la.name == name else la for la in network)
    return replace(network, layers=layers)


def channel_thresholds(network: Network) -> tuple[Network, tuple[str, ...]]:
    """The network with thresholds ``()`` or ``(C, 1, 1)``, and the layers in which they differed within a channel.

    A threshold for each neuron is a static gate per neuron, ``theta / g``. The gate of the channel is their mean, so
    its threshold is the harmonic mean of those of its neurons.

    Args:
        network: real; the same object is returned where no threshold differs within its channel.
    """
    changed = {layer.name: _means(layer.neuron.threshold) for layer in network.neurons if _differs(layer)}
    if not changed:
        return network, ()
    layers = [
        replace(layer, op=replace(layer.neuron, threshold=changed[layer.name]))
        if isinstance(layer, SpikingLayer) and layer.name in changed
        else layer
        for layer in network
    ]
    return network.rewritten(layers, "channel_thresholds"), tuple(changed)


def _differs(layer: SpikingLayer) -> bool:
    theta = layer.neuron.threshold
    return theta.ndim > 0 and bool((theta != theta[:, :1, :1]).any())


def _means(theta: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 / theta).mean(axis=(1, 2), keepdims=True))
