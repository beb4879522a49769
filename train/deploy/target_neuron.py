# SPDX-License-Identifier: Apache-2.0
"""Give a network the neurons of its chip, where the chip lacks those it was trained with. This changes the function.

A leaky neuron on a chip without leak becomes integrate-and-fire: it forgets nothing and would fire more. Each layer's
threshold is therefore multiplied by the factor with which the layer, on calibration clips and behind the layers that
were replaced before it, fires as often as it did (bisection between 1 and ``2^5``, for without a leak no state is
smaller and a threshold need not fall). A reset that the chip lacks becomes reset to zero, more spikes a step than it
makes become its most. On a chip without biases they are left out; a layer may then fire more or less, so that its
factor is searched between ``2^-5`` and ``2^5``. What is left of the difference is for `train.deploy.adapt` to repair.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spikefold.export.network import INPUT, Layer, Network
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.numbers import NumberFormat
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.simulators import clocked

_MOST_DOUBLINGS = 5.0
_BISECTIONS = 7


@dataclass(frozen=True)
class Replaced:
    """One layer's change: what was replaced, the factor on its threshold, its spikes a clip before and after."""

    layer: str
    what: str
    threshold_factor: float
    spikes_before: float
    spikes_after: float


def for_chip(
    network: Network, chip: NumberFormat, frames: np.ndarray, *, several: bool = False
) -> tuple[Network, tuple[Replaced, ...]]:
    """The network with neurons that the chip has; the same network where it has them all.

    Args:
        network: real.
        chip: the target.
        frames: calibration clips ``(T, N, C, H, W)``.
        several: neurons of a chip that can fire several times a step are let to, up to its most.
    """
    if not any(
        isinstance(la.op, Neuron) and (_nearest(la.op, chip, several)[1] or _biases(network, la, chip))
        for la in network
    ):
        return network, ()
    clips = frames.shape[1]
    wanted = clocked.run(network, frames)
    done = []
    for layer in network.neurons:
        neuron = layer.op
        if not isinstance(neuron, Neuron):
            continue
        other, what = _nearest(neuron, chip, several)
        if biased := _biases(network, layer, chip):
            network, what = _without_bias(network, biased), [*what, "bias -> none"]
        if not what:
            continue
        target, factor = wanted.layers[layer.name].spikes, 1.0
        if biased or (neuron.leak is not None and other.leak is None):
            lowest = -_MOST_DOUBLINGS if biased else 0.0
            factor = _matching(network, layer.name, other, frames, target, lowest)
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
        spikes = clocked.run(_with(network, name, neuron, 2**middle), frames).layers[name].spikes
        low, high = (middle, high) if spikes > target else (low, middle)
    return float(2**high)


def _with(network: Network, name: str, neuron: Neuron, factor: float) -> Network:
    changed = replace(neuron, threshold=neuron.threshold * factor)
    layers = tuple(replace(la, op=changed) if la.name == name else la for la in network)
    return replace(network, layers=layers)
