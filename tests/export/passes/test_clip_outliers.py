# SPDX-License-Identifier: Apache-2.0
"""Clipping an outlier buys finer steps for all others; it never makes the current's error larger."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.numbers import NumberFormat
from spikefold.export.ops import Conv2d, Dense
from spikefold.export.passes.clip_outliers import CANDIDATES, Clipped, clip_outliers
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.simulators import reference
from spikefold.hardware.simulators.reference import apply
from spikefold.hardware.speck import chip as speck

FRAMES = np.random.default_rng(0).poisson(0.5, (40, 2, 8, 8))


def _network(outlier: float, bias: float = 0.0) -> Network:
    rng = np.random.default_rng(1)
    weight = rng.normal(0, 0.05, (4, 2, 3, 3))
    # the tap in the corner: of 36 windows only those at the border miss it
    weight[0, 0, 0, 0] = outlier
    layers = (
        Layer("c", Conv2d(weight, np.array([bias, 0, 0, 0]) if bias else None)),
        Layer("n", Neuron(np.array(0.4))),
        Layer("d", Dense(rng.normal(0, 0.1, (3, 144)))),
        Layer("out", Neuron(np.array(0.3))),
    )
    return Network(InputSpec((2, 8, 8), 1000, 5), layers, 3)


def _search(network: Network, chip: NumberFormat) -> tuple[Network, dict[str, Clipped]]:
    inputs = {"c": FRAMES, "d": (np.random.default_rng(2).random((40, 4, 6, 6)) < 0.2).astype(np.int64)}
    clipped, entries = clip_outliers(network, chip, inputs, apply)
    return clipped, {entry.layer: entry for entry in entries}


def _error(network: Network, clipped: Network, chip: NumberFormat, name: str, x: np.ndarray) -> float:
    """The error as the integer network makes it, from `quantise` itself."""
    integer, scales = quantise(clipped, chip)
    scale = {entry.layer: entry.scale for entry in scales}[name]
    wanted, op = apply(network[name].op, x), integer[name].op
    neurons = integer.consumers(name)[0].op
    real = network.consumers(name)[0].op
    assert isinstance(neurons, Neuron)
    assert isinstance(real, Neuron)
    theta = float(real.threshold)
    found = apply(op, x) * theta / float(neurons.threshold)
    assert scale > 0
    return float(np.mean((found - wanted) ** 2)) / theta**2


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_the_error_reported_is_the_error_of_the_integers(bits: int) -> None:
    chip = replace(speck.NUMBERS, weight_bits=bits)
    network = _network(0.45)
    clipped, found = _search(network, chip)
    entry = found["c"]
    assert entry.error == pytest.approx(_error(network, clipped, chip, "c", FRAMES), rel=1e-9)
    assert entry.error_max == pytest.approx(_error(network, network, chip, "c", FRAMES), rel=1e-9)
    assert entry.error <= entry.error_max


def test_an_outlier_is_clipped_where_few_bits_make_it_dear() -> None:
    chip = replace(speck.NUMBERS, weight_bits=3)
    network = _network(0.3)
    clipped, found = _search(network, chip)
    assert found["c"].limit > 1
    assert found["c"].error < 0.9 * found["c"].error_max
    assert 0 < found["c"].clipped_share < 0.2
    weight = clipped["c"].op.weight
    assert weight.max() < 0.3
    assert clipped.history[-1] == "clip_outliers"


def test_where_clipping_does_not_pay_the_network_is_untouched() -> None:
    network = _network(0.1)
    clipped, found = _search(network, replace(speck.NUMBERS, weight_bits=12, bias_bits=12))
    assert {entry.limit for entry in found.values()} == {1.0}
    assert clipped is network
    assert all(entry.clipped_share == 0 and entry.error == entry.error_max for entry in found.values())


@pytest.mark.parametrize("limit", CANDIDATES[1:])
def test_quantisation_finds_the_larger_factor_by_itself(limit: float) -> None:
    from spikefold.export.passes.clip_outliers import _clipped
    from spikefold.export.passes.quantise import scale_for

    network = _network(0.45)
    op, neuron = network["c"].op, network["n"].op
    assert isinstance(op, Conv2d)
    assert isinstance(neuron, Neuron)
    base, bound_by = scale_for(op, neuron, 1, speck.NUMBERS)
    assert bound_by == "weight"
    found, _ = scale_for(_clipped(op, neuron, base * limit, speck.NUMBERS), neuron, 1, speck.NUMBERS)
    assert found == pytest.approx(base * limit, rel=1e-15)


def test_a_large_bias_is_clipped_too() -> None:
    chip = replace(speck.NUMBERS, weight_bits=5, bias_bits=3)
    network = _network(0.1, bias=0.25)
    clipped, found = _search(network, chip)
    assert found["c"].limit > 1
    bias = clipped["c"].op.bias
    assert bias is not None
    assert 0 < bias[0] < 0.25
    assert reference.run(quantise(clipped, chip)[0], FRAMES[:5, None].repeat(2, 1)).spikes > 0
