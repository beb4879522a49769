# SPDX-License-Identifier: Apache-2.0
"""The rules of the event-driven simulator worked out by hand, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spikefold.errors import DataError, NetworkError, UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Leak, Neuron, Overflow, Reset
from spikefold.export.ops import Concat, Conv2d, Dense, SumPool2d
from spikefold.hardware.speck.events.options import Arrival, Emission, Options, Tick
from spikefold.hardware.speck.events.simulate import run, simulate
from tests.hardware.speck.events.event_cases import one_core, rows, spikes_and_states, two_cores


def test_one_spike_an_event_and_the_rest_waits_for_the_next_event() -> None:
    """Weight 25, threshold 10: 25 fires once, 15 waits through an empty bin; a weight of 0 lets it fire again."""
    network = one_core([[25, 0]], 10, steps=5)
    assert spikes_and_states(network, rows([1, 0], [0, 0], [0, 1], [0, 1], [0, 1])) == (
        [[1], [0], [1], [0], [0]],
        [[15], [15], [5], [5], [5]],
    )
    assert spikes_and_states(one_core([[25]], 10, reset=Reset.ZERO), rows([3])) == ([[3]], [[0]])


@pytest.mark.parametrize("scale", [1, 1000])  # states of 16 and of 32 bits
@pytest.mark.parametrize("reset", [Reset.SUBTRACT, Reset.ZERO])
def test_so_does_each_of_many_neurons_side_by_side(scale: int, reset: Reset) -> None:
    """70 neurons, more than the machine adds at once, with weights of up to four thresholds."""
    rng = np.random.default_rng(3)
    weights, theta = scale * rng.integers(-20, 40, (70, 2)), 10 * scale
    counts = rng.integers(0, 3, (6, 2))
    v, fired = np.zeros(70, np.int64), np.zeros((6, 70), np.int64)
    for step, row in enumerate(counts):
        for source in np.repeat([0, 1], row):
            v += weights[:, source]
            fires = v >= theta
            fired[step] += fires
            v = np.where(fires, 0 if reset is Reset.ZERO else v - theta, v)
    network = one_core(weights.tolist(), theta, steps=6, reset=reset)
    spikes, _ = spikes_and_states(network, rows(*counts.tolist()))
    assert spikes == fired.tolist()
    assert fired.sum() > 200
    assert (weights.max(1) > 2 * theta).sum() > 10


def test_the_lower_bound_holds_after_each_event_not_once_a_bin() -> None:
    """-9 is held at -2, then +5 makes 3; a sum over the bin would give -2."""
    assert spikes_and_states(one_core([[-9, 5]], 10, v_min=-2.0), rows([1, 1])) == ([[0]], [[3]])
    trace = run(one_core([[-9, 5]], 10, v_min=-2.0), rows([1, 1]))
    assert trace.layers["n"].v_range == (-9, 3)


def test_bias_ticks_once_a_bin_and_does_not_fire() -> None:
    """Threshold 10, bias 6, weight 4: at the start 6 + 4 fires, at the end the first event meets 0."""
    network, frames = one_core([[4]], 10, bias=[6], steps=3), rows([1], [0], [1])
    assert spikes_and_states(network, frames, Options(tick=Tick.START)) == ([[1], [0], [1]], [[0], [6], [6]])
    # 4, tick 10: waits; tick 16; event 20 fires once, leaves 10, tick 16
    assert spikes_and_states(network, frames, Options(tick=Tick.END)) == ([[0], [0], [1]], [[10], [16], [16]])
    assert spikes_and_states(network, frames, Options(tick=Tick.NEVER)) == ([[0], [0], [0]], [[4], [4], [8]])
    leaking = one_core([[4]], 10, bias=[-3], steps=3, v_min=-4.0)
    assert spikes_and_states(leaking, frames)[1] == [[1], [-2], [-1]]
    assert spikes_and_states(leaking, rows([0], [0], [0]))[1] == [[-3], [-4], [-4]]


def test_a_pool_passes_each_spike_on_by_its_address() -> None:
    """Five in a row fire once each; a pool by 2 gives two events at 0, two at 1, and drops the fifth."""
    spec = InputSpec((1, 1, 5), 1000, 1)
    fires = Neuron(np.array(1), reset=Reset.SUBTRACT)
    layers = (
        Layer("c", Conv2d(np.ones((1, 1, 1, 1), np.int64))),
        Layer("n", fires),
        Layer("p", SumPool2d((1, 2))),
        Layer("d", Dense(np.array([[3, 4]]))),
        Layer("out", replace(fires, threshold=np.array(7))),
    )
    found = simulate(Network(spec, layers, 1), rows([1, 1, 1, 1, 1]), potentials=True)
    # 3, 6, 10 fires, 3 left, 7 fires: four events, two spikes. Sums as values would be one update of 14.
    assert found.loads[1].events.item() == found.loads[1].operations.item() == 4
    assert found.trace.layers["out"].raster.item() == 2
    assert found.trace.layers["out"].potentials.item() == 0


def test_emission_order_decides_where_weights_are_negative_and_not_elsewhere() -> None:
    """+2 then -2 fires and leaves -2; -2 then +2 does not fire. With +1, +2 both orders fire once and leave 1."""
    found = {
        order: spikes_and_states(two_cores([2, -2]), rows([1]), Options(emission=order))
        for order in Emission
        if order is not Emission.SHUFFLED
    }
    assert found == {
        Emission.FEATURES_DESCENDING: ([[0]], [[0]]),
        Emission.ADDRESSES_ASCENDING: ([[1]], [[-2]]),
        Emission.ADDRESSES_DESCENDING: ([[0]], [[0]]),
    }
    seeded = [spikes_and_states(two_cores([2, -2]), rows([1]), Options(Emission.SHUFFLED, seed=s)) for s in range(20)]
    assert {str(one) for one in seeded} == {str(one) for one in found.values()}
    safe = [spikes_and_states(two_cores([1, 2]), rows([1]), Options(emission=order)) for order in Emission]
    assert safe == [([[1]], [[1]])] * len(Emission)


def test_orders_keep_every_count_of_a_safe_chain_and_the_first_core_of_any() -> None:
    """The docstring's two promises on random chains; where they do not hold, some order must differ."""
    differed, compared = 0, 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        frames = rng.integers(0, 2, (4, 2, 1, 6, 6))
        for least, safe in ((0, True), (-3, False)):
            neuron = Neuron(np.array(5), reset=Reset.SUBTRACT)
            layers = (
                Layer("c", Conv2d(rng.integers(least, 6, (3, 1, 3, 3)))),
                Layer("n", neuron),
                Layer("e", Conv2d(rng.integers(least, 6, (2, 3, 2, 2)))),
                Layer("m", neuron),
            )
            network = Network(InputSpec((1, 6, 6), 1000, 4), layers, 2)
            traces = [run(network, frames, Options(emission=order, seed=seed)) for order in Emission]
            for other in traces[1:]:
                np.testing.assert_array_equal(traces[0].layers["n"].raster, other.layers["n"].raster)
                same = np.array_equal(traces[0].layers["m"].raster, other.layers["m"].raster)
                assert same or not safe
                differed += not same
                compared += traces[0].layers["m"].spikes
    assert differed > 5
    assert compared > 2000


def test_arrival_orders() -> None:
    """Raster: +2 enters before -2 and fires. Shuffled, some seed has it the other way round."""
    network = one_core([[2, -2]], 2)
    assert spikes_and_states(network, rows([1, 1])) == ([[1]], [[-2]])
    seeds = [spikes_and_states(network, rows([1, 1]), Options(arrival=Arrival.SEEDED, seed=s)) for s in range(20)]
    assert {str(one) for one in seeds} == {"([[1]], [[-2]])", "([[0]], [[0]])"}


def test_overflow_is_counted_and_kept() -> None:
    """Four bits hold -8..7: 6 fits, 12 and 18 do not; -6 fits, -12 does not."""
    layer = run(one_core([[6]], 100, state_bits=4), rows([3]), potentials=True).layers["n"]
    assert (layer.overflow, layer.v_range) == (2, (0, 18))
    assert layer.potentials is not None
    assert layer.potentials.item() == 18
    below = run(one_core([[-6]], 100, state_bits=4, v_min=-9.0), rows([3]), potentials=True).layers["n"]
    assert (below.overflow, below.v_range) == (2, (-15, 0))


@pytest.mark.parametrize("sign", [1, -1])
def test_an_overflow_that_is_no_record_is_counted_too(sign: int) -> None:
    """6, 12, 6, 12 in four bits: each 12 is one, the second no higher than the first; below zero likewise."""
    network = one_core([[6 * sign, -6 * sign]], 100, state_bits=4, steps=4)
    layer = run(network, rows([1, 0], [1, 0], [0, 1], [1, 0]), potentials=True).layers["n"]
    assert layer.potentials is not None
    assert layer.potentials.ravel().tolist() == [6 * sign, 12 * sign, 6 * sign, 12 * sign]
    assert layer.overflow == 2


def test_a_wide_kernel_with_strides_reaches_the_right_neurons() -> None:
    """Kernel 1x5, stride 2, padding 1, seven columns: weights 1..5 by hand, and rows shorter than the kernel."""
    kernel = np.arange(1, 6).reshape(1, 1, 1, 5)
    layers = (Layer("c", Conv2d(kernel, None, (1, 2), (0, 1))), Layer("n", Neuron(np.array(100))))
    network = Network(InputSpec((1, 1, 7), 1000, 7), layers, 1)
    states = run(network, np.eye(7, dtype=np.int64).reshape(7, 1, 1, 1, 7), potentials=True).layers["n"].potentials
    added = np.diff(states.reshape(7, 3), axis=0, prepend=0)
    # output o reads columns 2o - 1 .. 2o + 3
    assert added.tolist() == [[2, 0, 0], [3, 1, 0], [4, 2, 0], [5, 3, 1], [0, 4, 2], [0, 5, 3], [0, 0, 4]]


def test_the_default_order_has_features_outermost_then_rows_then_columns() -> None:
    """Eight neurons, (feature, y, x) from 000 to 111, fire at one event, and a decimator passes one spike of n.

    With n = 2 those at the 2nd, 4th, 6th and 8th place pass, with 4 and 8 fewer: which they are tells the order.
    """
    layers = (
        Layer("c", Conv2d(np.ones((2, 1, 2, 2), np.int64), padding=(1, 1))),
        Layer("n", Neuron(np.array(1), reset=Reset.SUBTRACT)),
    )
    network = Network(InputSpec((1, 1, 1), 1000, 1), layers, 1)
    places = {
        Emission.FEATURES_DESCENDING: [(f, y, x) for f in (1, 0) for y in (1, 0) for x in (1, 0)],
        Emission.ADDRESSES_ASCENDING: [(f, y, x) for y in (0, 1) for x in (0, 1) for f in (0, 1)],
        Emission.ADDRESSES_DESCENDING: [(f, y, x) for y in (1, 0) for x in (1, 0) for f in (1, 0)],
    }
    for emission, wanted in places.items():
        for interval in (2, 4, 8):
            options = Options(emission=emission, decimators={"c": interval})
            raster = run(network, np.ones((1, 1, 1, 1, 1), np.int64), options).layers["n"].raster[0, 0]
            assert [tuple(spot) for spot in np.argwhere(raster)] == sorted(wanted[interval - 1 :: interval])
    assert Options().emission is Emission.FEATURES_DESCENDING


def test_states_beyond_32_bits_are_kept_in_64() -> None:
    """Numbers of 2^40 from the start, and a state that could leave 32 bits only from the second bin on, by hand."""
    large = 2**40
    assert spikes_and_states(one_core([[3 * large, -large]], 2 * large), rows([1, 1])) == ([[1]], [[0]])
    bounded = one_core([[-3 * large]], large, v_min=-float(large))
    assert spikes_and_states(bounded, rows([2])) == ([[0]], [[-large]])
    growing = one_core([[2**30 - 1]], 2**30, steps=4, bias=[5])
    assert spikes_and_states(growing, rows([1], [2], [1], [0])) == (
        [[0], [2], [1], [0]],
        [[2**30 + 4], [2**30 + 4 + 2 * (2**30 - 1) - 2 * 2**30 + 5], [2**30 + 4 - 2 + 5 - 1 + 5], [2**30 + 16]],
    )
    overflowing = one_core([[2**30 - 1]], 2**30 - 1, steps=1, state_bits=33)
    assert run(overflowing, rows([9])).layers["n"].overflow == 0


# ---- refusals ----------------------------------------------------------------------------------------------------


def test_everything_unsupported_is_named_at_once() -> None:
    """Real, leaky, thresholds a neuron, fires above only, groups: one error, each with its layer."""
    spec, weight = InputSpec((2, 4, 4), 1000, 1), np.ones((2, 1, 3, 3))
    layers = (
        Layer("c", Conv2d(weight, groups=2)),
        Layer("leaky", Neuron(np.array(1.0), leak=Leak(0.5))),
        Layer("d", Dense(np.ones((2, 8)))),
        Layer("own", Neuron(np.ones((2, 1, 1)), fire=Fire.GT)),
    )
    with pytest.raises(UnsupportedError) as caught:
        run(Network(spec, layers, 1), np.zeros((1, 1, 2, 4, 4), np.int64))
    named = {(issue.where, issue.got) for issue in caught.value.issues}
    assert {
        ("network", "a real network"),
        ("c", "dilation 1x1, groups 2"),
        ("leaky", "leak 0.5"),
        ("own", "thresholds (2, 1, 1)"),
        ("own", ">"),
    } == named


@pytest.mark.parametrize(
    ("change", "got"),
    [
        ({"state_shift": 6}, "2^-6"),
        ({"state_bits": 16, "overflow": Overflow.WRAP}, "wrap"),
        ({"reset": Reset.VALUE, "reset_value": -1.0}, "reset value"),
        ({"v_min": -(2.0**62)}, "4.61169e+18"),
    ],
)
def test_neurons_unlike_specks_are_refused(change: dict[str, Any], got: str) -> None:
    """Neurons of other chips, and numbers that 64 bits have no room for."""
    with pytest.raises(UnsupportedError) as caught:
        run(one_core([[1]], 1, **change), rows([1]))
    assert [issue.got for issue in caught.value.issues] == [got]


def test_layers_that_are_no_core_are_refused() -> None:
    """A `Concat` of spikes and the input has no place on the chip."""
    layers = (
        Layer("w", Dense(np.array([[1]]))),
        Layer("n", Neuron(np.array(1))),
        Layer("both", Concat(), ("n", "input")),
        Layer("d", Dense(np.array([[1, 1]]))),
        Layer("out", Neuron(np.array(1))),
    )
    with pytest.raises(UnsupportedError) as caught:
        run(Network(InputSpec((1, 1, 1), 1000, 1), layers, 1), rows([1]))
    assert [issue.where for issue in caught.value.issues] == ["both"]


def test_bad_frames_are_refused() -> None:
    """Another shape, rates, counts below zero, and more spikes or larger states than the numbers hold."""
    network = one_core([[1]], 1)
    with pytest.raises(NetworkError, match="do not fit"):
        run(network, rows([1, 1]))
    with pytest.raises(DataError, match="whole"):
        run(network, rows([1]) * 0.5)
    with pytest.raises(DataError, match="-1"):
        run(network, -rows([1]))
    with pytest.raises(UnsupportedError, match="65536 spikes"):
        run(network, rows([65536]))
    with pytest.raises(UnsupportedError, match="64 bits"):
        run(one_core([[2**62 - 1]], 1), rows([3]))
    assert spikes_and_states(network, rows([65535])) == ([[65535]], [[0]])
    assert spikes_and_states(network, rows([1]).astype(np.float64)) == ([[1]], [[0]])
