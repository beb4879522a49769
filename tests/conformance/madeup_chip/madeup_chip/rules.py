# SPDX-License-Identifier: Apache-2.0
"""The integers of the made-up chip, its rules, and what a network takes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

from spikefold.errors import Issue
from spikefold.export.network import Network
from spikefold.export.neuron import Fire, Neuron, Overflow, Reset
from spikefold.export.numbers import NumberFormat
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.chip import Resources, Use

NUMBERS = NumberFormat(
    weight_bits=4,
    bias_bits=None,
    threshold_max=1000,
    state_bits=12,
    overflow=Overflow.SATURATE,
    resets=frozenset({Reset.ZERO}),
    max_spikes=3,
)
LAYERS, CORES, NEURONS = 6, 64, 512


def few_layers(network: Network) -> Iterator[Issue]:
    """A network has at most six weight layers."""
    count = sum(isinstance(layer.op, Conv2d | Dense) for layer in network)
    if count > LAYERS:
        yield Issue(_text(few_layers), "network", str(count), str(LAYERS), f"leave out {count - LAYERS} layers")


def chain(network: Network) -> Iterator[Issue]:
    """Each layer reads one other, and is a convolution without dilation and groups, a dense layer or neurons."""
    for layer in network:
        op, got = layer.op, type(layer.op).__name__
        plain = not isinstance(op, Conv2d) or (op.dilation == (1, 1) and op.groups == 1)
        if len(layer.inputs) != 1 or not isinstance(op, Conv2d | Dense | Neuron) or not plain:
            hint = "fold it first, or train a plain chain"
            yield Issue(_text(chain), layer.name, f"{got} of {len(layer.inputs)} inputs", "a plain chain", hint)


def neuron_kind(network: Network) -> Iterator[Issue]:
    """A neuron has no leak, current or lower bound, one threshold a layer, a reset to zero, and at most 3 spikes."""
    for layer in network.neurons:
        op = layer.op
        if not isinstance(op, Neuron):
            continue
        simple = op.leak is None and op.current is None and op.v_min is None and not op.threshold.ndim
        if not simple or op.reset is not Reset.ZERO or op.fire is not Fire.GE or not NUMBERS.allows(op.max_spikes):
            yield Issue(_text(neuron_kind), layer.name, f"{op}"[:60], "such a neuron", "train such neurons")


def integer_ranges(network: Network) -> Iterator[Issue]:
    """Weights are -8 to 7, thresholds 1 to 1000, and there is no bias."""
    for layer in network if network.is_integer else ():
        op = layer.op
        if isinstance(op, Conv2d | Dense):
            if op.weight.min() < -8 or op.weight.max() > 7:
                got = f"{op.weight.min()}..{op.weight.max()}"
                yield Issue(_text(integer_ranges), layer.name, got, "-8..7", "quantise it")
            if op.bias is not None:
                yield Issue(_text(integer_ranges), layer.name, "a bias", "none", "adapt without biases")
        elif isinstance(op, Neuron) and not 1 <= op.threshold <= NUMBERS.threshold_max:
            yield Issue(_text(integer_ranges), layer.name, f"{op.threshold}", "1..1000", "quantise it")


RULES = (few_layers, chain, neuron_kind, integer_ranges)


def violations(network: Network) -> list[Issue]:
    return [issue for rule in RULES for issue in rule(network)]


def resources(network: Network) -> Resources:
    """A core holds 512 neurons of one layer."""
    layers = []
    for layer in network:
        if isinstance(layer.op, Conv2d | Dense):
            neurons = prod(network.shapes[layer.name])
            memory = {"neurons": (min(neurons, NEURONS), NEURONS)}
            layers.append(Use(layer.name, -(-neurons // NEURONS), memory, "neurons"))
    chips = -(-sum(use.cores for use in layers) // CORES)
    return Resources(tuple(layers), chips, "cores", estimate=False, placement={})


def _text(rule: Callable[[Network], Iterator[Issue]]) -> str:
    return (rule.__doc__ or rule.__name__).rstrip(".")
