# SPDX-License-Identifier: Apache-2.0
"""Quantisation: rounding, the common factor worked out by hand, ranges and sums that are never left, refusals."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.errors import NetworkError, UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Overflow, Reset
from spikefold.export.numbers import NumberFormat
from spikefold.export.ops import AvgPool2d, BatchNorm, Conv2d, Dense, Gate, SumPool2d
from spikefold.export.passes.quantisable import refuse_unsupported
from spikefold.export.passes.quantise import common_scale, quantise
from spikefold.hardware.loihi import chip as loihi
from spikefold.hardware.registry import chips
from spikefold.hardware.simulators import reference
from spikefold.hardware.speck import chip as speck

WIDE = NumberFormat(8, 8, 2**15 - 1, 16, Overflow.FORBID, frozenset({Reset.ZERO, Reset.SUBTRACT}))
LEAKY = replace(WIDE, leak_shift=12, fire_leaky=Fire.GT, state_shift=6)
ONE = Neuron(np.array(1.0))


def _dense(
    weight: list[list[float]], bias: list[float] | None = None, theta: float = 1.0, **options: object
) -> Network:
    neuron = Neuron(np.array(theta), **options)  # type: ignore[arg-type]
    op = Dense(np.array(weight), None if bias is None else np.array(bias))
    return Network(InputSpec((len(weight[0]), 1, 1), 1000, 4), (Layer("w", op), Layer("n", neuron)), 1)


def _numbers(network: Network, chip: NumberFormat = WIDE) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    quantised, _ = quantise(network, chip)
    op, neuron = quantised["w"].op, quantised["n"].op
    assert isinstance(op, Dense)
    assert isinstance(neuron, Neuron)
    return op.weight, op.bias, neuron.threshold


# ---- rounding ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(0.5, 0), (-0.5, 0), (1.5, 2), (-1.5, -2), (2.5, 2), (-2.5, -2), (3.5, 4), (63.5, 64), (-63.5, -64), (62.5, 62),
     (0.4999, 0), (0.5001, 1), (-0.5001, -1), (126.5, 126), (125.5, 126), (7.0, 7), (-0.2, 0)],
)  # fmt: skip
def test_ties_round_to_even(value: float, rounded: int) -> None:
    # the largest weight is 127 itself, so the factor is 1
    weight, bias, threshold = _numbers(_dense([[127.0, value], [0, 0]], [value, 0], theta=abs(value) + 50))
    assert weight.tolist() == [[127, rounded], [0, 0]]
    assert bias is not None
    assert bias.tolist() == [rounded, 0]
    assert threshold == np.rint(abs(value) + 50)
    assert weight.dtype == bias.dtype == threshold.dtype == np.int64


# ---- the factor -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "bias", "theta", "chip", "scale", "bound_by"),
    [
        ([[0.5, -0.25]], None, 1.0, WIDE, 127 / 0.5, "weight"),
        ([[0.25, -0.5]], None, 1.0, WIDE, 128 / 0.5, "weight"),
        ([[0.5, -0.5]], None, 1.0, WIDE, 127 / 0.5, "weight"),
        ([[-0.5, -0.125]], None, 1.0, WIDE, 128 / 0.5, "weight"),
        ([[127.0, -128.0]], None, 1.0, WIDE, 1.0, "weight"),
        ([[0.5]], [2.0], 1.0, WIDE, 127 / 2, "bias"),
        ([[0.5], [0.0]], [-2.0, 0.0], 1.0, WIDE, 128 / 2, "bias"),
        # where all numbers are below 0 and nearly equal, sinabs takes the smaller half of the range
        ([[0.5]], [-2.0], 1.0, WIDE, 127 / 2, "bias"),
        ([[0.5]], [0.5], 1.0, WIDE, 127 / 0.5, "weight"),
        ([[0.5]], [2.0], 1.0, replace(WIDE, bias_bits=12), 127 / 0.5, "weight"),
        ([[0.5]], [2.0], 1.0, replace(WIDE, bias_bits=9), 255 / 2, "bias"),
        ([[0.5]], None, 200.0, WIDE, 32767 / 200, "threshold"),
        ([[0.0]], None, 4.0, WIDE, 32767 / 4, "threshold"),
        ([[0.5]], [0.0], 200.0, WIDE, 32767 / 200, "threshold"),
        # three inputs, largest sum 1.25 + 0.25: (100 - (3 + 1)/2) / 1.5
        ([[0.5, -0.5, 0.25], [0.1, 0, 0]], [-0.25, 0.0], 1.0, replace(WIDE, sum_max=100), 98 / 1.5, "sum"),
        ([[0.5, -0.5, 0.25]], None, 1.0, replace(WIDE, sum_max=100), 98 / 1.25, "sum"),
    ],
)
def test_the_common_factor_by_hand(
    weight: list[list[float]], bias: list[float] | None, theta: float, chip: NumberFormat, scale: float, bound_by: str
) -> None:
    network = _dense(weight, bias, theta)
    assert common_scale(network, network["w"], chip) == (pytest.approx(scale, rel=1e-15), bound_by)
    _, (report,) = quantise(network, chip)
    assert (report.layer, report.bound_by) == ("w", bound_by)


@pytest.mark.parametrize("most", [1, 2, 7])
def test_the_sum_counts_events_and_the_area_of_pools(most: int) -> None:
    layers = (
        Layer("p", SumPool2d((2, 3))),
        Layer("d", Dense(np.full((1, 2), 0.5))),
        Layer("n", ONE),
        Layer("e", Dense(np.full((1, 1), 0.5))),
        Layer("o", ONE),
    )
    network = Network(InputSpec((2, 2, 3), 1000, 4, most), layers, 1)
    chip = replace(WIDE, sum_max=500)
    # two inputs of 6 * most events each
    assert common_scale(network, network["d"], chip)[0] == pytest.approx((500 - (12 * most + 1) / 2) / (6 * most))
    # one input of one spike
    assert common_scale(network, network["e"], chip) == (pytest.approx(127 / 0.5), "weight")


def test_a_sum_that_cannot_be_kept_is_refused() -> None:
    network = _dense([[0.1] * 20])
    with pytest.raises(UnsupportedError, match="20 inputs of up to 1 events each can exceed the largest sum 10"):
        quantise(network, replace(WIDE, sum_max=10))


@st.composite
def layers(draw: st.DrawFn) -> tuple[Network, NumberFormat]:
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    fan_in, outputs = draw(st.integers(1, 40)), draw(st.integers(1, 5))
    spread = 10.0 ** draw(st.integers(-4, 4))
    weight = rng.normal(draw(st.sampled_from([-1.0, 0.0, 0.5])), 1, (outputs, fan_in)) * spread
    bias = rng.normal(0, 1, outputs) * spread * draw(st.sampled_from([0.01, 1, 100])) if draw(st.booleans()) else None
    if draw(st.booleans()):
        weight = np.round(weight / spread * 4) / 4 * spread  # many ties and many largest values
    theta = spread * draw(st.floats(0.5, 30)) * draw(st.sampled_from([1, 1, 1000]))
    most = draw(st.sampled_from([None, 1, 3, 20]))
    network = Network(
        InputSpec((fan_in, 1, 1), 1000, 4, most),
        (Layer("w", Dense(weight, bias)), Layer("n", Neuron(np.array(theta)))),
        1,
    )
    tight = [replace(WIDE, sum_max=limit) for limit in (400, 1500)]
    chip = draw(st.sampled_from([WIDE, *tight, speck.NUMBERS, loihi.NUMBERS, replace(WIDE, weight_bits=4)]))
    return network, chip


def test_no_range_and_no_sum_is_ever_left() -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=400, deadline=None, derandomize=True, database=None)
    @given(layers())
    def check(case: tuple[Network, NumberFormat]) -> None:
        network, chip = case
        try:
            quantised, (report,) = quantise(network, chip)
        except NetworkError:  # a threshold far below its weights rounds to 0
            seen["threshold 0"] += 1
            return
        op, neuron = quantised["w"].op, quantised["n"].op
        assert isinstance(op, Dense)
        assert isinstance(neuron, Neuron)
        half = 2 ** (chip.weight_bits - 1)
        assert -half <= op.weight.min() <= op.weight.max() <= half - 1
        bias = np.zeros(len(op.weight), np.int64)
        if op.bias is not None:
            bias = op.bias
            assert -(2 ** (chip.bias_bits - 1)) <= bias.min() <= bias.max() <= 2 ** (chip.bias_bits - 1) - 1
        assert 1 <= neuron.threshold <= chip.threshold_max
        if chip.sum_max is not None:
            largest = (network.input.max_count or 1) * np.abs(op.weight).sum(axis=1) + np.abs(bias)
            assert largest.max() <= chip.sum_max
        assert report.weight_error <= 0.5 / report.scale * (1 + 1e-9)
        assert 0 <= report.zeroed_share <= 1
        seen[report.bound_by] += 1
        # the factor is used up: whatever bound it is at its limit, give or take one rounding
        if report.bound_by == "weight":
            assert np.abs(op.weight).max() >= half - 1
        if report.bound_by == "threshold":
            assert neuron.threshold == chip.threshold_max

    check()
    assert min(seen[name] for name in ("weight", "bias", "threshold", "sum")) >= 5, seen


# ---- the neuron -------------------------------------------------------------------------------------------------


def _integer(neuron: Neuron, chip: NumberFormat) -> Neuron:
    layers = (Layer("w", Dense(np.array([[127.0]]))), Layer("n", neuron))
    quantised, _ = quantise(Network(InputSpec((1, 1, 1), 1000, 4), layers, 1), chip)
    made = quantised["n"].op
    assert isinstance(made, Neuron)
    assert made.is_integer
    return made


@pytest.mark.parametrize(
    ("keep", "expected"),
    [(0.0, 0), (1.0, 4096), (0.5, 2048), (1 / 4096, 1), (0.5 / 4096, 0), (1.5 / 4096, 2), (2.5 / 4096, 2),
     (0.9999, 4096), (0.3, 1229)],
)  # fmt: skip
def test_a_leak_rounds_half_to_even_in_its_own_denominator(keep: float, expected: int) -> None:
    made = _integer(replace(ONE, leak=Leak(keep)), LEAKY)
    assert made.leak == Leak(expected, 12)
    assert abs(expected / 4096 - keep) <= 2**-13


def test_the_state_is_the_chips() -> None:
    made = _integer(Neuron(np.array(20.0), leak=Leak(0.5)), loihi.NUMBERS)
    assert (made.state_shift, made.state_bits, made.overflow) == (7, 24, Overflow.SATURATE)
    assert (made.fire, made.threshold.item(), made.v_min) == (Fire.GT, 20, None)
    made = _integer(Neuron(np.array(20.0), reset=Reset.SUBTRACT, max_spikes=None), speck.NUMBERS)
    assert (made.state_shift, made.state_bits, made.overflow) == (0, 16, Overflow.FORBID)
    assert (made.fire, made.threshold.item(), made.v_min, made.max_spikes) == (Fire.GE, 20, -(2**14), None)


@pytest.mark.parametrize(("own", "expected"), [(None, -100), (-40.0, -40), (-40.5, -40), (-500.0, -100), (0.0, 0)])
def test_the_higher_of_two_lower_bounds_counts(own: float | None, expected: int) -> None:
    assert _integer(replace(ONE, v_min=own), replace(WIDE, v_min=-100)).v_min == expected


@pytest.mark.parametrize("reset", [Reset.ZERO, Reset.SUBTRACT])
def test_above_only_becomes_at_or_above_one_more_and_fires_the_same_spikes(reset: Reset) -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-3, 6, (5, 8)).astype(float)
    weight[0, 0] = 127
    network = Network(
        InputSpec((8, 1, 1), 1000, 40),
        (Layer("w", Dense(weight)), Layer("n", Neuron(np.array(6.0), Fire.GT, Reset.ZERO))),
        1,
    )
    quantised, _ = quantise(network, WIDE)
    made = quantised["n"].op
    assert isinstance(made, Neuron)
    assert (made.fire, made.threshold.item()) == (Fire.GE, 7)
    frames = rng.poisson(0.3, (40, 20, 8, 1, 1))
    one, two = (reference.run(net, frames, potentials=True) for net in (network, quantised))
    assert int((one.layers["n"].raster != two.layers["n"].raster).sum()) == 0
    careless = Network(network.input, (quantised["w"], Layer("n", replace(made, threshold=made.threshold - 1))), 1)
    assert int((reference.run(careless, frames).layers["n"].raster != one.layers["n"].raster).sum()) > 20
    assert one.spikes > 300


@pytest.mark.parametrize("fire", Fire)
def test_a_threshold_that_binds_the_factor_stays_within_the_chips_range(fire: Fire) -> None:
    _, _, threshold = _numbers(_dense([[0.001]], theta=300.0, fire=fire))
    assert threshold <= WIDE.threshold_max
    assert threshold >= WIDE.threshold_max - 1


# ---- exactness --------------------------------------------------------------------------------------------------


def _random(seed: int = 0) -> tuple[Network, np.ndarray]:
    rng = np.random.default_rng(seed)
    conv = Conv2d(rng.normal(0.1, 0.4, (4, 2, 3, 3)), rng.normal(0, 0.1, 4), padding=(1, 0))
    layers = (
        Layer("c", conv),
        Layer("n", Neuron(np.array(0.8))),
        Layer("p", SumPool2d((2, 1))),
        Layer("d", Dense(rng.normal(0.02, 0.3, (6, 60)))),
        Layer("o", ONE),
    )
    return Network(InputSpec((2, 6, 7), 1000, 9), layers, 3), rng.poisson(0.5, (9, 6, 2, 6, 7))


@pytest.mark.parametrize("chip", chips())
@pytest.mark.parametrize("power", [-9, -1, 1, 3, 12])
def test_scaling_a_layer_by_a_power_of_two_leaves_its_integers_and_spikes(chip: str, power: int) -> None:
    network, frames = _random()
    factor = 2.0**power

    def scaled(op: object) -> object:
        match op:
            case Conv2d() | Dense():
                return replace(op, weight=op.weight * factor, bias=None if op.bias is None else op.bias * factor)
            case Neuron():
                return replace(op, threshold=op.threshold * factor)
        return op

    other = Network(network.input, tuple(Layer(la.name, scaled(la.op)) for la in network), 3)  # type: ignore[arg-type]
    (one, first), (two, second) = (quantise(net, chips()[chip].numbers) for net in (network, other))
    for a, b in zip(one, two, strict=True):
        for field in ("weight", "bias", "threshold"):
            np.testing.assert_array_equal(getattr(a.op, field, None), getattr(b.op, field, None))
    assert [scale.scale for scale in first] == [scale.scale * factor for scale in second]
    spikes = [reference.run(net, frames) for net in (one, two, other, network)]
    for name in ("n", "o"):
        assert spikes[0].layers[name].spikes > 50
        np.testing.assert_array_equal(spikes[0].layers[name].raster, spikes[1].layers[name].raster)
        np.testing.assert_array_equal(spikes[2].layers[name].raster, spikes[3].layers[name].raster)


@pytest.mark.parametrize("chip", chips())
def test_whole_numbers_that_fit_are_kept_and_so_is_every_spike(chip: str) -> None:
    rng = np.random.default_rng(4)
    weight = rng.integers(-60, 127, (5, 12)).astype(float)
    weight[0, 0] = 127
    network = Network(
        InputSpec((12, 1, 1), 1000, 20), (Layer("w", Dense(weight)), Layer("n", Neuron(np.array(300.0)))), 1
    )
    quantised, (report,) = quantise(network, chips()[chip].numbers)
    np.testing.assert_array_equal(quantised["w"].op.weight, weight)
    assert (report.scale, report.weight_error, report.zeroed_share) == (1.0, 0.0, 0.0)
    frames = rng.poisson(0.3, (20, 9, 12, 1, 1))
    one, two = reference.run(network, frames), reference.run(quantised, frames)
    np.testing.assert_array_equal(one.layers["n"].raster, two.layers["n"].raster)
    assert one.spikes > 150


def test_each_layer_has_its_own_factor_also_where_the_order_of_layers_mixes_two_branches() -> None:
    layers = (
        Layer("a", Dense(np.array([[0.5]])), ("input",)),
        Layer("b", Dense(np.array([[8.0]])), ("input",)),
        Layer("na", ONE, ("a",)),
        Layer("nb", Neuron(np.array(4.0)), ("b",)),
        Layer("d", Dense(np.array([[0.25]])), ("na",)),
        Layer("o", ONE, ("d",)),
    )
    quantised, scales = quantise(Network(InputSpec((1, 1, 1), 1000, 4), layers, 1), WIDE)
    assert {s.layer: s.scale for s in scales} == {"a": 254.0, "b": 127 / 8, "d": 508.0}
    assert {la.name: int(la.op.threshold) for la in quantised.neurons} == {"na": 254, "nb": 64, "o": 508}


# ---- the report -------------------------------------------------------------------------------------------------


def test_the_report_of_a_layer_by_hand() -> None:
    network = _dense([[127.0, 0.3, -0.2, 0.0, 2.4]], theta=254.0)
    quantised, (report,) = quantise(network, WIDE)
    assert report.to_json() == {
        "layer": "w", "scale": 1.0, "bound_by": "weight", "weight_error": pytest.approx(0.4), "zeroed_share": 2 / 4,
        "effective_bits": pytest.approx(np.log2(255)), "threshold": 254, "max_weight_over_threshold": 0.5,
        "ties": 0, "sum_bound": None, "state_bounds": None, "overflow_excluded": None,
    }  # fmt: skip
    assert json.loads(json.dumps(report.to_json()))["threshold"] == 254
    assert quantised.history == ("quantise",)
    assert quantised.is_integer


# ---- refusals ---------------------------------------------------------------------------------------------------


def test_every_unsupported_kind_is_named_at_once() -> None:
    rng = np.random.default_rng(0)
    conv, ones = Conv2d(rng.normal(size=(2, 2, 1, 1))), np.ones(2)
    layers = (
        Layer("norm", BatchNorm(ones, ones, ones, ones, 1e-5)),
        Layer("gate", Gate(ones)),
        Layer("mean", AvgPool2d((1, 1))),
        Layer("twice", conv),
        Layer("again", conv),
        Layer("by channel", Neuron(np.ones((2, 1, 1)))),
        Layer("c1", conv),
        Layer("value", replace(ONE, reset=Reset.VALUE, reset_value=0.5)),
        Layer("c2", conv),
        Layer("leaky", replace(ONE, leak=Leak(0.5))),
        Layer("c3", conv),
        Layer("bounded", replace(ONE, v_min=-1.0)),
        Layer("c4", conv),
        Layer("many", replace(ONE, max_spikes=None)),
        Layer("c5", conv),
        Layer("all", replace(ONE, max_spikes=2, leak=Leak(0.5), v_min=-1.0)),
    )
    network = Network(InputSpec((2, 3, 3), 1000, 4), layers, 1)
    with pytest.raises(UnsupportedError, match="the network cannot be quantised for this chip") as caught:
        refuse_unsupported(network, WIDE)
    found = [(issue.where, issue.rule) for issue in caught.value.issues]
    assert found == [
        ("norm", "operation"),
        ("gate", "operation"),
        ("mean", "operation"),
        ("twice", "a spiking layer after each weight layer"),
        ("by channel", "one threshold a layer"),
        ("value", "reset"),
        ("leaky", "leak"),
        ("bounded", "lower bound of the state"),
        ("many", "spikes a step"),
        ("all", "leak"),
        ("all", "lower bound of the state"),
        ("all", "spikes a step"),
    ]
    text = str(caught.value)
    assert all(where in text for where, _ in found)
    assert all(issue.hint for issue in caught.value.issues)
    with pytest.raises(UnsupportedError):
        quantise(network, WIDE)


def test_a_neuron_that_adds_two_weight_layers_is_refused_for_they_have_two_factors() -> None:
    layers = (
        Layer("a", Dense(np.array([[0.5]])), ("input",)),
        Layer("b", Dense(np.array([[8.0]])), ("input",)),
        Layer("n", ONE, ("a", "b")),
    )
    with pytest.raises(UnsupportedError) as caught:
        quantise(Network(InputSpec((1, 1, 1), 1000, 4), layers, 1), WIDE)
    assert [issue.where for issue in caught.value.issues] == ["n"]


@pytest.mark.parametrize("first", [True, False])
def test_a_neuron_without_a_weight_layer_before_it_is_refused(first: bool) -> None:
    before = () if first else (Layer("w", Dense(np.array([[0.5]]))), Layer("m", ONE))
    layers = (*before, Layer("p", SumPool2d((1, 1))), Layer("n", ONE))
    with pytest.raises(UnsupportedError) as caught:
        quantise(Network(InputSpec((1, 1, 1), 1000, 4), layers, 1), WIDE)
    assert [issue.where for issue in caught.value.issues] == ["n"]
