# SPDX-License-Identifier: Apache-2.0
"""Potentials before the reset, stepped by hand; histograms, PTD and QE against plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import neuron

from spikefold.errors import DataError, SpikefoldError
from spikefold.train.analysis.measure import analyse
from spikefold.train.analysis.potentials import BINS, BINS_PER_THRESHOLD, SPAN, binned, centres, fire, ptd
from spikefold.train.models.neurons import make_neuron
from spikefold.train.models.spiking_net import channels_last
from tests.train.analysis.analysis_cases import CLIPS, clips, network

INPUT = np.random.default_rng(0).normal(0.1, 0.5, (12, 30, 7, 5)).astype(np.float32)
EQUATIONS: dict[str, Callable[[float], Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "if": lambda keep: lambda v, x: v + x,
    "lif": lambda keep: lambda v, x: keep * v + x,
    "lif_decay_input": lambda keep: lambda v, x: keep * v + (1 - keep) * x,
    "plif": lambda keep: lambda v, x: keep * v + (1 - keep) * x,
}


@pytest.mark.parametrize("kind", EQUATIONS)
@pytest.mark.parametrize("keep", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("spike", ["atan", "rectangle"])
def test_the_potential_is_the_one_stepped_by_hand(kind: str, keep: float, spike: str) -> None:
    node: Any = make_neuron(kind, threshold=0.3, keep=keep, spike=spike).eval()
    with torch.no_grad():
        spikes, potential = (part.numpy() for part in fire(node, torch.from_numpy(INPUT)))
        node.store_v_seq = True
        assert np.array_equal(spikes, node(torch.from_numpy(INPUT)).numpy())
    after = node.v_seq.numpy()
    step, v, fired = EQUATIONS[kind](keep), np.zeros(INPUT.shape[1:]), 0
    for t, x in enumerate(INPUT):
        v = step(v, x.astype(np.float64))
        assert np.allclose(potential[t], v, rtol=0, atol=1e-6 * (t + 1))
        # bit for bit where nothing was reset; where it was, at least the threshold as float32 holds it
        silent = spikes[t] == 0
        assert np.array_equal(potential[t][silent], after[t][silent])
        assert np.array_equal(potential[t] >= np.float32(0.3), ~silent)
        v = np.where(silent, after[t].astype(np.float64), 0.0)
        fired += int((~silent).sum())
    assert 0.01 * INPUT.size < fired < 0.9 * INPUT.size


def test_integrate_and_fire_potentials_are_exact_sums() -> None:
    node = make_neuron("if", threshold=1.0, keep=0.5).eval()
    x = np.array([0.5, 0.25, 0.5, -3.0, 2.0, 2.5], np.float32)
    with torch.no_grad():
        spikes, potential = fire(node, torch.from_numpy(x[:, None]))
    assert potential[:, 0].tolist() == [0.5, 0.75, 1.25, -3.0, -1.0, 1.5]
    assert spikes[:, 0].tolist() == [0, 0, 1, 0, 0, 1]


def test_the_order_in_memory_makes_no_difference() -> None:
    """Networks keep maps channels last."""
    node = make_neuron("lif", threshold=0.3, keep=0.3, spike="rectangle").eval()
    x = torch.from_numpy(INPUT[..., None])
    with torch.no_grad():
        plain, last = fire(node, x), fire(node, x.movedim(2, -1).contiguous().movedim(-1, 2))
    assert all(torch.equal(a, b) for a, b in zip(plain, last, strict=True))
    assert plain[0].sum() > 100


def test_the_neuron_is_as_it_was_afterwards() -> None:
    node = make_neuron("lif", threshold=0.3, keep=0.3).eval()
    x = torch.from_numpy(INPUT)
    with torch.no_grad():
        first = fire(node, x)
        node(x)  # a state that must not reach the next run
        second = fire(node, x)
    assert torch.equal(first[1], second[1])
    assert (node.v, node.v_threshold, node.store_v_seq, node.v_seq) == (0.0, 0.3, False, None)


def test_neurons_with_more_state_and_potentials_without_end_are_refused() -> None:
    class Tiring(neuron.IFNode):  # type: ignore[misc]
        """Its threshold rises while it runs."""

        def multi_step_forward(self, x_seq: torch.Tensor) -> torch.Tensor:
            spikes = super().multi_step_forward(x_seq)
            return spikes * (torch.arange(len(spikes)) < 3).view(-1, 1)

    with torch.no_grad():
        with pytest.raises(SpikefoldError, match="Tiring do not explain"):
            fire(Tiring(step_mode="m"), torch.ones(6, 2))
        with pytest.raises(DataError, match="no finite number"):
            fire(neuron.IFNode(step_mode="m"), torch.full((3, 2), math.nan))


@pytest.mark.parametrize("threshold", [1.0, 0.3])
@pytest.mark.parametrize("quantity", ["potential", "current"])
def test_histograms_equal_a_loop(threshold: float, quantity: str) -> None:
    model, frames = network(threshold=threshold, neuron="lif", keep=0.3), clips()
    found = analyse(model, frames, batch=3)
    x = channels_last(torch.from_numpy(frames.astype(np.float32)))
    checked = 0
    with torch.no_grad():
        for name, module in model.layers.named_children():
            if name not in found.layers:
                x = module(x)
                continue
            current, (x, potential) = x, fire(module, x)
            values = (potential if quantity == "potential" else current).double().numpy()
            expected = np.zeros((*values.shape[0:3:2], BINS + 2), np.int64)
            for place in np.ndindex(values.shape):
                scaled = (values[place] / float(np.float32(threshold)) + SPAN) * BINS_PER_THRESHOLD
                expected[place[0], place[2], min(max(math.floor(scaled), -1), BINS) + 1] += 1
            histogram = getattr(found.layers[name].potentials, quantity)
            assert np.array_equal(histogram, expected)
            checked += histogram.sum()
    assert checked == model_values(found) * CLIPS


def model_values(found: object) -> int:
    return sum(layer.firing.fired.size for layer in found.layers.values())  # type: ignore[attr-defined]


@pytest.mark.parametrize("threshold", [1.0, 0.3, 0.7])
def test_potentials_from_the_threshold_on_are_the_spikes(threshold: float) -> None:
    found = analyse(network(threshold=threshold, neuron="lif", keep=0.5, attention="none"), clips())
    first = 1 + (SPAN + 1) * BINS_PER_THRESHOLD
    for layer in found.layers.values():
        assert np.array_equal(
            layer.potentials.potential[..., first:].sum(axis=2), layer.firing.fired.sum(axis=(2, 3))
        )
        assert layer.firing.spikes > 50


@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_neurons_exactly_at_their_threshold_are_among_the_spikes(threshold: float) -> None:
    """float32 holds 0.3 a little above and 0.7 a little below what Python does."""
    model = network(attention="none", threshold=threshold)
    norm: Any = model.layers.bn1
    norm.weight.data.zero_()
    norm.bias.data.fill_(threshold)
    layer = analyse(model, clips()).layers["sn1"]
    first = 1 + (SPAN + 1) * BINS_PER_THRESHOLD
    assert layer.firing.spikes == layer.firing.fired.size * CLIPS == layer.potentials.potential[..., first].sum()


@given(st.floats(0.01, 5), st.integers(-3, 3))
@settings(derandomize=True, max_examples=60)
def test_a_potential_at_the_threshold_is_in_the_first_bin_of_spikes(threshold: float, ulps: int) -> None:
    edge = np.float32(threshold)
    value = edge
    for _ in range(abs(ulps)):
        value = np.nextafter(value, np.float32(np.inf if ulps > 0 else -np.inf))
    bin_of = binned(torch.tensor(value).view(1, 1, 1, 1, 1), float(edge)).ravel().argmax() - 1
    assert (bin_of >= (SPAN + 1) * BINS_PER_THRESHOLD) == (value >= edge)


def test_quantisation_error_is_the_mean_square_of_potential_less_spike() -> None:
    model, frames = network(attention="none"), clips()
    layer = analyse(model, frames, batch=2).layers["sn1"]
    x = torch.from_numpy(frames.astype(np.float32))
    with torch.no_grad():
        layers: Any = model.layers
        spikes, potential = fire(layers.sn1, layers.bn1(layers.conv1(x)))
    squares = (potential.double() - spikes.double()).numpy() ** 2
    assert spikes.sum() > 100
    assert layer.potentials.qe() == pytest.approx(squares.mean(), rel=1e-6)
    chosen = np.zeros(layer.potentials.squares.shape, bool)
    chosen[2, 1] = chosen[4, 3] = True
    assert layer.potentials.qe(chosen) == pytest.approx(
        (squares[2, :, 1].mean() + squares[4, :, 3].mean()) / 2, rel=1e-6
    )
    assert layer.potentials.qe(chosen & ~chosen) is None


def _histogram(**counts: int) -> np.ndarray:
    histogram = np.zeros(BINS + 2, np.int64)
    for place, number in counts.items():
        histogram[int(place[1:])] = number
    return histogram


def test_ptd_is_the_mean_centre_of_the_three_highest_bins_less_the_threshold() -> None:
    # bins 41, 51 and 61 of 160 from -4 to 4: centres -1.975, -1.475 and -0.975
    histogram = _histogram(b41=9, b51=8, b61=7, b90=6, b0=100, b161=100)
    assert ptd(histogram, 1.0) == pytest.approx(-1.475 - 1, abs=1e-12)
    assert ptd(histogram, 0.3) == pytest.approx(0.3 * (-1.475 - 1), abs=1e-12)
    assert ptd(_histogram(b41=5, b51=5, b61=5, b90=5), 1.0) == pytest.approx(-1.475 - 1, abs=1e-12)
    assert ptd(np.full(BINS + 2, 7), 1.0) == pytest.approx(centres(1.0)[1] - 1, abs=1e-12)
    assert ptd(_histogram(b41=5), 1.0) == pytest.approx(-1.975 - 1, abs=1e-12)
    assert ptd(_histogram(b0=5, b161=5), 1.0) is None
    assert (centres(2.0)[0], centres(2.0)[-1]) == pytest.approx((-7.95, 7.95))
