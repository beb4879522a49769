# SPDX-License-Identifier: Apache-2.0
"""Flips at a tie are excused, with their bound; a fault is not, however small; silence and integers are refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from spikefold.errors import MismatchError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Order, Reset
from spikefold.export.ops import AvgPool2d, BatchNorm, Conv2d, Dense, Gate
from spikefold.export.passes.fold import fold
from spikefold.export.passes.rescale import rescale
from spikefold.hardware.simulators import reference
from spikefold.hardware.simulators.flips import flips
from tests.norms import batch_norm

U = 2.0**-53


def _tie() -> tuple[Network, Network, np.ndarray]:
    """0.1 + 0.2 against a threshold of 0.3, the classic: 0.30000000000000004 fires, 0.3 - 1e-17 does not."""

    def network(weights: list[list[float]]) -> Network:
        layers = (
            Layer("w", Dense(np.array(weights))),
            Layer("n", Neuron(np.array(0.3), Fire.GT)),
            Layer("w2", Dense(np.array([[1.0, 0.25]]))),
            Layer("o", Neuron(np.array(0.2))),
        )
        return Network(InputSpec((3, 1, 1), 1000, 3), layers, 1)

    frames = np.zeros((3, 2, 3, 1, 1), int)
    frames[0, 1] = 1  # clip 1 sees all three inputs at step 0
    frames[1, 0, 2] = 1  # clip 0 the last alone at step 1: the other neuron fires
    one, other = network([[0.1, 0.2, 0.0], [0, 0, 1]]), network([[0.3, 0.0, 0.0], [0, 0, 1]])
    return one, other, frames


def test_a_tie_that_rounding_decides_is_a_root_flip_with_its_bound_and_what_follows_is_a_consequence() -> None:
    before, after, frames = _tie()
    report = flips(before, after, frames)
    (flip,) = report.roots
    assert (flip.layer, flip.step, flip.clip, flip.neuron, flip.spikes) == ("n", 0, 1, (0, 0, 0), (1, 0))
    assert flip.distance == (0.1 + 0.2 - 0.3, 0.0)
    assert 1e-17 < flip.distance[0] < flip.bound < 1e-13
    # o lost a spike of weight 1, and keeps firing or not as its other input says
    lost = reference.run(before, frames).layers["o"].raster != reference.run(after, frames).layers["o"].raster
    assert report.consequences == int(lost.sum())
    assert (report.layers, report.steps, report.clips, report.neurons) == (2, 3, 2, 3)
    assert report.spikes == reference.run(before, frames).spikes
    assert report.bounds.keys() == {"n", "o"}
    assert json.loads(json.dumps(report.to_json()))["roots"][0]["layer"] == "n"
    assert report.describe().startswith("1 flips within rounding of the threshold")


def test_the_bound_by_hand() -> None:
    before, after, frames = _tie()
    flip = flips(before, after, frames).roots[0]
    # three products and a bias a current: 4 roundings, in `after`, twice in `before`, and 8; a state of |0.1|+|0.2|
    n, size = 4 + 2 * 4 + 8, 0.1 + 0.2
    gamma_n, gamma_4 = (k * U / (1 - k * U) for k in (n, 4))
    expected = 1.01 * (2 * gamma_n * size + 2 * gamma_4 * size + 2 * gamma_4 * (size + 0.3))
    assert flip.bound == pytest.approx(expected, rel=1e-9, abs=0)


def test_the_bound_takes_every_number_between_the_spikes_and_the_neuron_by_its_size() -> None:
    norm = BatchNorm(np.array([-2.0]), np.array([-0.3]), np.array([0.7]), np.array([3.75]), 0.25)
    layers = (
        Layer("c", Conv2d(np.array([-0.5, 3.0]).reshape(1, 2, 1, 1), np.array([-0.2]))),
        Layer("b", norm),
        Layer("p", AvgPool2d((1, 2))),
        Layer("g", Gate(np.array([0.6]))),
        Layer("n", Neuron(np.array(0.05))),
    )
    network = Network(InputSpec((2, 1, 2), 1000, 1), layers, 1)
    frames = np.array([5, 4, 0, 1]).reshape(1, 1, 2, 1, 2)
    depth = 3 + 6 + 2 + 1  # two products, a sum, the bias; batch norm; two summed and divided; the gate
    n = 3 * depth + 8
    # |gamma| / sqrt(var + eps) (|w| x + |b| + |mean|) + |beta|, of both positions
    sizes = [2 / 2 * (0.5 * 5 + 0.2 + 0.7) + 0.3, 2 / 2 * (0.5 * 4 + 3 + 0.2 + 0.7) + 0.3]
    size = 0.6 * sum(sizes) / 2
    gamma_n, gamma_4 = (k * U / (1 - k * U) for k in (n, 4))
    expected = 1.01 * (2 * gamma_n * size + 2 * gamma_4 * size + 2 * gamma_4 * (size + 0.05))
    report = flips(network, network, frames)
    assert report.spikes == 1
    assert report.bounds["n"] == pytest.approx(expected, rel=1e-9, abs=0)


def _chain(seed: int, neuron: Neuron) -> tuple[Network, np.ndarray]:
    rng = np.random.default_rng(seed)
    norm = batch_norm(rng.uniform(0.3, 1.0, (4, 3)), eps=1e-3)
    layers = (
        Layer("c", Conv2d(rng.normal(0.1, 0.6, (3, 2, 3, 3)), padding=(1, 1))),
        Layer("b", norm),
        Layer("p", AvgPool2d((2, 3))),
        Layer("g", Gate(rng.uniform(0.3, 1.1, 3))),
        Layer("n", neuron),
        Layer("d", Dense(rng.normal(0.1, 0.4, (4, 27)))),
        Layer("o", neuron),
    )
    frames = rng.poisson(0.6, (12, 4, 2, 6, 9))
    return Network(InputSpec((2, 6, 9), 1000, 12), layers, 1), frames


NEURONS = {
    "zero": Neuron(np.array(0.7)),
    "leaky": Neuron(np.array(0.7), leak=Leak(0.3)),
    "input first, by subtraction": Neuron(
        np.array(0.5), leak=Leak(0.7), order=Order.INPUT_FIRST, reset=Reset.SUBTRACT
    ),
    "bounded, many spikes": Neuron(np.array(0.2), reset=Reset.SUBTRACT, v_min=-0.1, max_spikes=None),
    "value": Neuron(np.array(0.6), reset=Reset.VALUE, reset_value=-0.3, v_min=-0.4),
    "finer states": Neuron(np.array(0.6), state_shift=3),
    "a current that lasts": Neuron(np.array(1.6), leak=Leak(0.8), current=Leak(0.6)),
}


@pytest.mark.parametrize("name", NEURONS)
def test_the_states_of_the_two_runs_stay_within_the_bound_and_the_bound_is_no_blank_cheque(name: str) -> None:
    network, frames = _chain(1, NEURONS[name])
    folded = fold(network)
    report = flips(network, folded, frames)
    assert not report.roots
    one, two = (reference.run(net, frames, potentials=True).layers for net in (network, folded))
    for layer, bound in report.bounds.items():
        apart = float(np.abs(one[layer].potentials - two[layer].potentials).max())
        # the fold leaves the dense layer before o as it is, bit for bit
        assert 0 < apart < bound if layer == "n" else apart == 0 < bound, (layer, apart, bound)
        assert bound < 1e-10
    assert report.spikes > 100


@pytest.mark.parametrize("name", ["zero", "leaky", "input first, by subtraction"])
def test_the_bound_holds_against_exact_rationals(name: str) -> None:
    """One neuron in exact arithmetic: the bound on two runs is one on the error of either."""
    neuron = NEURONS[name]
    rng = np.random.default_rng(5)
    weight = rng.normal(0.3, 1, (1, 6))
    network = Network(InputSpec((6, 1, 1), 1000, 30), (Layer("w", Dense(weight)), Layer("n", neuron)), 1)
    frames = rng.poisson(0.8, (30, 1, 6, 1, 1))
    trace = reference.run(network, frames, potentials=True).layers["n"]
    bound = flips(network, network, frames).bounds["n"]
    exact, keep = Fraction(0), Fraction(neuron.leak.keep) if neuron.leak else Fraction(1)
    worst = 0.0
    for step, frame in enumerate(frames[:, 0, :, 0, 0]):
        x = sum((Fraction(float(w)) * int(k) for w, k in zip(weight[0], frame, strict=True)), Fraction(0))
        exact = keep * (exact + x) if neuron.order is Order.INPUT_FIRST else keep * exact + x
        if trace.raster[step, 0, 0, 0, 0]:
            exact = Fraction(0) if neuron.reset is Reset.ZERO else exact - Fraction(float(neuron.threshold))
        assert trace.potentials is not None
        worst = max(worst, abs(float(exact - Fraction(float(trace.potentials[step, 0, 0, 0, 0])))))
    assert trace.spikes > 5
    assert 0 < worst < bound


@pytest.mark.parametrize("name", NEURONS)
def test_the_recurrence_by_hand_step_by_step(name: str) -> None:
    neuron = NEURONS[name]
    rng = np.random.default_rng(6)
    weight = rng.normal(0.1, 0.5, (1, 6))
    network = Network(InputSpec((6, 1, 1), 1000, 30), (Layer("w", Dense(weight)), Layer("n", neuron)), 1)
    frames = rng.poisson(0.5, (30, 1, 6, 1, 1))
    spikes = reference.run(network, frames).layers["n"].raster.ravel()
    keep, shift = neuron.leak.keep if neuron.leak else 1.0, 2.0**neuron.state_shift
    small, n = 2 * 4 * U / (1 - 4 * U), 7 + 2 * 7 + 8
    size = error = worst = driven = driven_error = 0.0
    for frame, fired in zip(frames.reshape(30, 6), spikes, strict=True):
        current = float(np.abs(weight[0]) @ frame) * shift
        fresh = 2 * n * U / (1 - n * U) * current
        if neuron.current is not None:
            driven = neuron.current.keep * driven + current
            driven_error = neuron.current.keep * driven_error + fresh + small * driven
            current, fresh = driven, driven_error
        if neuron.order is Order.INPUT_FIRST:
            size, error = keep * (size + current), keep * (error + fresh)
        else:
            size, error = keep * size + current, keep * error + fresh
        error += small * size
        worst = max(worst, 1.01 * (error + small * (size + float(neuron.threshold) * shift)))
        if fired and neuron.reset is Reset.SUBTRACT:
            error += small * size
        elif fired:
            size, error = abs(neuron.reset_value), small * abs(neuron.reset_value)
        if neuron.v_min is not None:
            size, error = max(size, -neuron.v_min), error - small * neuron.v_min
    assert 3 < np.count_nonzero(spikes) < 28
    assert flips(network, network, frames).bounds["n"] == pytest.approx(worst, rel=1e-9, abs=0)


def test_many_ties_flip_within_their_bound() -> None:
    """Thresholds among the sums that occur: rounding decides hundreds of times, and is excused each time."""
    found = 0
    for seed in range(60):
        network, frames = _chain(seed, Neuron(np.array(0.7)))
        currents = reference.apply(network["c"].op, frames[0].astype(float))
        for name in ("b", "p", "g"):
            currents = reference.apply(network[name].op, currents)
        theta = np.sort(currents[currents > 0])[-3:].min()
        layers = tuple(replace(la, op=Neuron(np.array(theta))) if la.name == "n" else la for la in network)
        tied = Network(network.input, layers, 1)
        report = flips(tied, fold(tied), frames)
        found += len(report.roots)
        for flip in report.roots:
            assert max(flip.distance) <= flip.bound < 1e-12
            assert max(flip.distance) > 0
    assert found > 5


# ---- faults -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-9])
def test_a_fault_is_refused_however_small_where_it_changes_a_spike(size: float) -> None:
    network, frames = _chain(2, Neuron(np.array(0.7)))
    folded = fold(network)
    op = folded["c"].op
    assert isinstance(op, Conv2d)
    assert op.bias is not None
    one = reference.run(network, frames, potentials=True).layers["n"]
    assert one.potentials is not None
    # a threshold a little above some state that is reached, and a bias that is off by a little more
    reached = np.sort(one.potentials[(one.potentials > 0.5) & (one.raster == 0)])[-5]
    theta = Neuron(np.array(reached + size / 2))
    layers = tuple(replace(la, op=theta) if la.name == "n" else la for la in network)
    wrong = tuple(
        replace(la, op=theta if la.name == "n" else replace(op, bias=op.bias + size)) if la.name in "nc" else la
        for la in folded
    )
    assert not flips(Network(network.input, layers, 1), fold(Network(network.input, layers, 1)), frames).roots
    with pytest.raises(MismatchError, match="spikes differ beyond rounding") as caught:
        flips(Network(network.input, layers, 1), Network(network.input, wrong, 1), frames)
    assert caught.value.where == "n"


def test_a_fault_behind_a_flip_of_another_clip_or_branch_is_not_a_consequence() -> None:
    before, after, frames = _tie()
    layers = tuple(replace(la, op=Dense(np.array([[1.0, 0.15]]))) if la.name == "w2" else la for la in after)
    # clip 1 flipped in n, so o is excused there; in clip 0 nothing flipped before o
    with pytest.raises(MismatchError, match="clip=0") as caught:
        flips(before, Network(after.input, layers, 1), frames)
    assert caught.value.where == "o"


def test_a_rescaled_network_is_compared_in_units_of_the_first() -> None:
    network, frames = _chain(3, Neuron(np.array(0.7), leak=Leak(0.6)))
    folded = fold(network)
    for factor in (1e-6, 1 / 3, 1e6):
        report = flips(folded, rescale(folded, {"n": factor, "o": 1 / factor}), frames)
        assert not report.roots
        assert max(report.bounds.values()) < 1e-11
    half = rescale(folded, {"n": 1e6})
    layers = tuple(replace(la, op=folded["n"].op) if la.name == "n" else la for la in half)
    with pytest.raises(MismatchError, match="beyond rounding"):
        flips(folded, Network(folded.input, layers, 1), frames)


# ---- silent branches --------------------------------------------------------------------------------------------


def _residual(theta: float) -> tuple[Network, np.ndarray]:
    """``n`` and, where it reaches ``theta``, ``m`` of a branch that reads ``n``, added up by the output's weights."""
    rng = np.random.default_rng(8)
    norm = batch_norm(rng.uniform(0.3, 1.0, (4, 3)), eps=1e-3)
    layers = (
        Layer("c", Dense(rng.normal(0.2, 0.6, (3, 5)))),
        Layer("n", Neuron(np.array(0.6))),
        Layer("w", Conv2d(rng.normal(0.1, 0.4, (3, 3, 1, 1)))),
        Layer("b", norm),
        Layer("m", Neuron(np.array(theta))),
        Layer("d", Dense(rng.normal(0.3, 0.4, (2, 3))), ("n", "m")),
        Layer("o", Neuron(np.array(0.5))),
    )
    return Network(InputSpec((5, 1, 1), 1000, 9), layers, 1), rng.poisson(0.7, (9, 4, 5, 1, 1))


def test_a_silent_branch_has_its_states_compared_and_is_named() -> None:
    network, frames = _residual(1e6)
    report = flips(network, fold(network), frames)
    assert report.silent == ("m",)
    assert report.to_json()["silent"] == ("m",)
    assert (report.layers, len(report.roots)) == (3, 0)
    assert report.spikes > 50
    firing, frames = _residual(0.6)
    assert flips(firing, fold(firing), frames).silent == ()


@pytest.mark.parametrize("size", [1e-3, 1e-9])
def test_a_fault_in_a_silent_branch_is_refused(size: float) -> None:
    network, frames = _residual(1e6)
    folded = fold(network)
    op = folded["w"].op
    assert isinstance(op, Conv2d)
    off = replace(op, weight=op.weight * np.array([1, 1 + size, 1]).reshape(3, 1, 1, 1))
    wrong = Network(folded.input, tuple(replace(la, op=off) if la.name == "w" else la for la in folded), 1)
    assert reference.run(network, frames).spikes == reference.run(wrong, frames).spikes > 50
    with pytest.raises(MismatchError, match="states of m, which never fires, differ beyond rounding") as caught:
        flips(network, wrong, frames)
    assert caught.value.where == "m"


def test_silence_that_cuts_the_way_to_the_output_is_refused() -> None:
    network, frames = _residual(0.6)
    silent = tuple(replace(la, op=Neuron(np.array(1e9))) if la.name == "n" else la for la in network)
    # m and o may fire from the bias of the batch norm alone, but nothing of the input is left
    with pytest.raises(MismatchError, match="never fires, so nothing was compared there"):
        flips(Network(network.input, silent, 1), fold(Network(network.input, silent, 1)), frames)


def test_silence_that_is_allowed_is_named_and_proven_by_states() -> None:
    network, frames = _residual(0.6)
    silent = Network(
        network.input,
        tuple(replace(la, op=Neuron(np.array(1e6))) if la.name == "n" else la for la in network),
        1,
    )
    folded = fold(silent)
    found = flips(silent, folded, frames, allow_silent=True)
    assert "n" in found.silent
    op = folded["c"].op  # what the silent layer reads
    assert isinstance(op, Dense)
    # the states of a layer that never fires are compared all the same: another function is found out
    off = replace(op, weight=op.weight * 2)
    wrong = Network(folded.input, tuple(replace(la, op=off) if la.name == "c" else la for la in folded), 1)
    with pytest.raises(MismatchError, match="beyond rounding"):
        flips(silent, wrong, frames, allow_silent=True)


# ---- nothing compared -------------------------------------------------------------------------------------------


def test_what_cannot_be_compared_is_refused() -> None:
    before, after, frames = _tie()

    def changed(name: str, op: object) -> Network:
        return Network(after.input, tuple(replace(la, op=op) if la.name == name else la for la in after), 1)  # type: ignore[arg-type]

    silent = changed("o", Neuron(np.array(math.pi * 1e6)))
    with pytest.raises(MismatchError, match="o never fires"):
        flips(silent, silent, frames)
    with pytest.raises(MismatchError, match="reset"):
        flips(before, changed("n", Neuron(np.array(0.3), Fire.GT, Reset.SUBTRACT)), frames)
    renamed = Network(
        after.input, tuple(replace(la, name="other", inputs=()) if la.name == "o" else la for la in after), 1
    )
    with pytest.raises(MismatchError, match="the outputs are o and other"):
        flips(before, renamed, frames)
    wider = Network(
        after.input, (*after.layers[:3], Layer("w3", Dense(np.ones((2, 1)))), Layer("o", after["o"].op)), 1
    )
    with pytest.raises(MismatchError, match="shapes"):
        flips(before, wider, frames)
    whole = Network(before.input, (Layer("w", Dense(np.ones((1, 3), int))), Layer("o", Neuron(np.array(1)))), 1)
    with pytest.raises(MismatchError, match="integer networks"):
        flips(whole, whole, frames)
