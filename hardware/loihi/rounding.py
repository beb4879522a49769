# SPDX-License-Identifier: Apache-2.0
"""Measures how far Loihi's integer CUBA network is from the float LIF network it was made of, cause by cause.

Each layer is run on one input, the spikes of the float network before it, in five forms; the spike bits that differ
between one form and the next are the flips of one cause::

    float           w, theta, keep; fires at >=
    quantisation    w and theta rounded to whole numbers by the layer's one factor
    ties            fires at > where the chip does; whole numbers land on the threshold often, real ones never
    decay           keep rounded to k / 4096, of the state and of a current
    truncation      states in whole units, the leak's product rounded toward zero, and their width

Flips may undo one another, so that the first and the last form differ in at most their sum (``local``). Over the
whole network a flip changes what all later layers read: ``end_to_end`` compares the two networks each on its own
spikes. A layer of the float network that never fires is not compared: it has no spikes, and a report says so. Factors
and rounding are those of ``export.passes.quantise``, the equations those of ``export.neuron``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Reset
from spikefold.export.ops import Conv2d, Dense
from spikefold.export.passes.quantise import raised
from spikefold.hardware.simulators import clocked
from spikefold.hardware.simulators.reference import gathered

CAUSES = ("quantisation", "ties", "decay", "truncation")
Pair = tuple[Conv2d | Dense, Neuron]


@dataclass(frozen=True)
class LayerGap:
    """One spiking layer, float against integer.

    Attributes:
        name: the layer.
        bits: neurons times steps times clips.
        spikes: of the float network; where there are none, bits that are equal say nothing.
        flips: differing bits by cause, on the same input.
        local: bits that differ between float and integer layer on the same input.
        end_to_end: bits that differ between float and integer network.
    """

    name: str
    bits: int
    spikes: int
    flips: Mapping[str, int]
    local: int
    end_to_end: int


@dataclass(frozen=True)
class RoundingGap:
    """All spiking layers of one network, in order, on the same clips."""

    clips: int
    steps: int
    layers: tuple[LayerGap, ...]

    @property
    def local_share(self) -> float:
        """Bits that differ on the same input, of all bits of all layers."""
        return sum(layer.local for layer in self.layers) / sum(layer.bits for layer in self.layers)

    @property
    def end_to_end_share(self) -> float:
        """Bits that differ between the two networks, of all bits of all layers."""
        return sum(layer.end_to_end for layer in self.layers) / sum(layer.bits for layer in self.layers)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report: counts, and shares of all spike bits."""
        layers = [
            asdict(layer)
            | {"local_share": layer.local / layer.bits, "end_to_end_share": layer.end_to_end / layer.bits}
            for layer in self.layers
        ]
        return {
            "clips": self.clips,
            "steps": self.steps,
            "local_share": self.local_share,
            "end_to_end_share": self.end_to_end_share,
            "layers": layers,
        }


def measure(real: Network, integer: Network, frames: np.ndarray, *, batch: int = 25) -> RoundingGap:
    """Compare a folded real network with what `quantise` made of it for Loihi.

    Args:
        real: weight layers and spiking layers as the quantisation reads them.
        integer: the same layers in whole numbers.
        frames: event counts ``(T, N, C, H, W)``.
        batch: clips at a time; dense values of every layer are held for so many.

    Raises:
        UnsupportedError: other layers in the two networks, or neurons that Loihi does not have.
        NetworkError: the frames do not have the networks' input shape.
    """
    _refuse(real, integer)
    one, two = (clocked.run(network, frames, batch=batch) for network in (real, integer))
    flips = {name: dict.fromkeys((*CAUSES, "local"), 0) for name in one.layers}
    for start in range(0, frames.shape[1], batch):
        chunk = frames[:, start : start + batch]
        values = clocked.values(real, chunk)
        for layer in real.neurons:
            source = real[layer.inputs[0]]
            x = gathered(source, values).reshape(*chunk.shape[:2], *real.input_shape(source))
            forms = list(_forms(_pair(real, layer), _pair(integer, integer[layer.name])))
            rasters = [_raster(pair, x) for pair in forms]
            for cause, before, after in zip(CAUSES, rasters[:-1], rasters[1:], strict=True):
                flips[layer.name][cause] += int((before != after).sum())
            flips[layer.name]["local"] += int((rasters[0] != rasters[-1]).sum())
    layers = []
    for name, trace in one.layers.items():
        apart = int((trace.raster != two.layers[name].raster).sum())
        local = flips[name].pop("local")
        layers.append(LayerGap(name, trace.raster.size, trace.spikes, flips[name], local, apart))
    return RoundingGap(frames.shape[1], frames.shape[0], tuple(layers))


def _forms(real: Pair, integer: Pair) -> Iterator[Pair]:
    """The five forms of one layer, the first and the last as they are."""
    (op, neuron), (whole, chip) = real, integer
    yield op, neuron
    rounded = replace(
        whole, weight=whole.weight.astype(float), bias=None if whole.bias is None else whole.bias.astype(float)
    )
    theta = chip.threshold.astype(float)
    # above k is at or above k + 1 among whole numbers, and the quantisation raised the threshold for it
    yield rounded, replace(neuron, threshold=theta, fire=Fire.GE if raised(neuron) else neuron.fire)
    strict = replace(neuron, threshold=theta, fire=chip.fire)
    yield rounded, strict
    yield rounded, replace(strict, leak=_exact(chip.leak), current=_exact(chip.current))
    yield whole, chip


def _exact(leak: Leak | None) -> Leak | None:
    return None if leak is None else Leak(leak.keep / 2**leak.shift)


def _raster(pair: Pair, x: np.ndarray) -> np.ndarray:
    op, neuron = pair
    steps, _, c, h, w = x.shape
    counts = x.astype(np.int64)  # spikes, or sums of them
    network = Network(InputSpec((c, h, w), 1, steps), (Layer("weights", op), Layer("spikes", neuron)), 1)
    return clocked.run(network, counts, batch=x.shape[1]).layers["spikes"].raster


def _pair(network: Network, layer: Layer) -> Pair:
    source = network[layer.inputs[0]].op
    if not isinstance(source, Conv2d | Dense) or not isinstance(layer.op, Neuron) or len(layer.inputs) != 1:
        raise UnsupportedError(
            "a spiking layer does not follow one weight layer", where=layer.name, hint="fold the network first"
        )
    return source, layer.op


def _refuse(real: Network, integer: Network) -> None:
    """Name everything that keeps the forms from being five of the same layer."""
    issues = []
    if real.is_integer or not integer.is_integer:
        kinds = [("real", "integer")[network.is_integer] for network in (real, integer)]
        issues.append(
            Issue("number systems", "network", ", ".join(kinds), "real, integer", "give them in this order")
        )
    shapes = [[(layer.name, network.shapes[layer.name]) for layer in network] for network in (real, integer)]
    if shapes[0] != shapes[1]:
        issues.append(Issue("layers", "network", str(shapes[1]), str(shapes[0]), "quantise this very network"))
    for layer in (*real.neurons, *integer.neurons):
        op = layer.op
        if isinstance(op, Neuron) and (op.reset is not Reset.ZERO or op.v_min is not None or op.max_spikes != 1):
            got = f"reset {op.reset.value}, lower bound {op.v_min}, {op.max_spikes} spikes a step"
            hint = "train neurons that Loihi has"
            issues.append(Issue("CUBA neurons", layer.name, got, "reset zero, no bound, 1 spike", hint))
    if issues:
        raise UnsupportedError("these two networks cannot be compared layer by layer", issues=issues)
