# SPDX-License-Identifier: Apache-2.0
"""The event-driven engine equals a plain event loop, the energy counts, and the clocked engine where it must."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings

from spikefold.energy.counts.count import count
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.ops import Concat, Conv2d, SumPool2d
from spikefold.hardware.simulators import clocked
from spikefold.hardware.speck.events.options import Arrival, Emission, Options
from spikefold.hardware.speck.events.simulate import RUNNER, run, simulate
from tests.hardware.speck.events.event_cases import Case, cases
from tests.hardware.speck.events.plain_events import frame_spots, plain

EXAMPLES = 250


def test_equals_a_plain_event_loop() -> None:
    """Spike for spike, state for state, with range, overflow, events and operations, under all options."""
    covered: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, derandomize=True)
    @given(cases())
    def compare(case: Case) -> None:
        network, frames, options = case
        fast = simulate(network, frames, options, potentials=True)
        slow = plain(network, frames.shape[:2], frame_spots(frames, options), options)
        assert fast.trace.runner == RUNNER == "event-driven"
        assert list(fast.trace.layers) == list(slow)
        for name, wanted in slow.items():
            layer = fast.trace.layers[name]
            assert layer.raster.dtype == np.uint16
            np.testing.assert_array_equal(layer.raster, wanted.raster, name)
            np.testing.assert_array_equal(layer.potentials, wanted.states, name)
            assert (layer.v_range, layer.overflow) == ((wanted.low, wanted.high), wanted.overflow), name
            covered["spikes"] += layer.spikes
            covered["states"] += wanted.states.size
            covered["overflows"] += wanted.overflow
        for load in fast.loads:
            wanted = slow[network.consumers(load.name)[0].name]
            np.testing.assert_array_equal(load.events, wanted.events)
            np.testing.assert_array_equal(load.operations, wanted.operations)
            covered["operations"] += int(load.operations.sum())
        biased = any(isinstance(layer.op, Conv2d) and layer.op.bias is not None for layer in network)
        covered["networks"] += 1
        covered["networks that fired at the output"] += list(fast.trace.layers.values())[-1].spikes > 0
        covered["merges"] += any(len(layer.inputs) > 1 and not isinstance(layer.op, Concat) for layer in network)
        covered["split"] += any(isinstance(layer.op, Concat) for layer in network)
        covered["pools"] += any(isinstance(layer.op, SumPool2d) for layer in network)
        covered["lost"] += options.lose_first
        covered["decimated"] += len(options.decimators) > 0
        covered["ticks that fire"] += options.tick_fires and biased and options.tick != "never"
        covered[options.emission] += 1
        covered[f"tick {options.tick}"] += 1

    compare()
    least = {
        "networks": 40, "networks that fired at the output": 40, "spikes": 4000, "states": 5000, "merges": 15,
        "pools": 15, "overflows": 50, "features-descending": 10, "addresses-ascending": 10,
        "addresses-descending": 10, "shuffled": 10, "tick start": 10, "tick end": 10, "split": 15,
        "lost": 30, "decimated": 20, "ticks that fire": 30,
    }  # fmt: skip
    assert {key: covered[key] for key, wanted in least.items() if covered[key] < wanted} == {}, covered


def test_operations_are_those_of_the_energy_counts() -> None:
    """Counted one by one in the loop here, from rasters and fan-out maps there; a core that decimates included."""
    compared = 0

    @settings(max_examples=EXAMPLES, derandomize=True)
    @given(cases())
    def compare(case: Case) -> None:
        nonlocal compared
        network, frames, options = case
        if options.lose_first:
            return
        found = simulate(network, frames, options)
        counts = count(network, frames, found.trace)
        assert [load.name for load in found.loads] == [layer.name for layer in counts.layers]
        for load, layer in zip(found.loads, counts.layers, strict=True):
            assert (load.operations.sum(), load.events.sum()) == (layer.events, layer.input_events), load.name
            compared += layer.events

    compare()
    assert compared > 4000, compared


def test_equals_clocked_counts_with_safe_weights() -> None:
    """One layer, 0 <= w <= threshold, subtract, no bias, no lower bound.

    Before each event a state is below the threshold, so w lifts it below twice the threshold: one spike is all that
    fits, nothing waits. After a bin both engines sent floor((v + sum) / threshold) spikes, whatever the order.
    """
    compared = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        neuron = Neuron(np.array(9), reset=Reset.SUBTRACT, max_spikes=None)
        conv = Conv2d(rng.integers(0, 10, (4, 2, 3, 3)), stride=(1 + seed % 2, 1), padding=(1, 0))
        network = Network(InputSpec((2, 8, 8), 1000, 6), (Layer("c", conv), Layer("n", neuron)), 4)
        frames = rng.integers(0, 4, (6, 3, 2, 8, 8))
        fast = run(network, frames, Options(Emission.SHUFFLED, Arrival.SEEDED, seed=seed), potentials=True).layers[
            "n"
        ]
        slow = clocked.run(network, frames, potentials=True).layers["n"]
        np.testing.assert_array_equal(fast.raster, slow.raster)
        np.testing.assert_array_equal(fast.potentials, slow.potentials)
        compared += slow.spikes
    assert compared > 10_000, compared


def one_event_a_step(seed: int) -> Network:
    """One to three cores; each event reaches one neuron of any core but the last, so no core gets two in a step."""
    rng = np.random.default_rng(seed)
    shape, layers = (int(rng.integers(1, 4)), 8, 12), []
    for number in range(seed % 3):
        side = (2, 1) if number else (1, 2)
        weight = rng.integers(2, 9, (1, shape[0], *side))
        neuron = Neuron(np.array(8), reset=Reset.SUBTRACT, max_spikes=None)
        layers += [Layer(f"w{number}", Conv2d(weight, stride=side)), Layer(f"n{number}", neuron)]
        shape = (1, shape[1] // side[0], shape[2] // side[1])
    theta = int(rng.integers(3, 128))
    largest = int(rng.integers(theta // 2 + 1, theta + 1))
    neuron = Neuron(
        np.array(theta),
        reset=(Reset.SUBTRACT, Reset.ZERO)[seed // 3 % 2],
        max_spikes=(None, 1)[seed // 6 % 2],
        v_min=(None, float(-theta), 0.0)[seed // 12 % 3],
        state_bits=16,
    )
    kernel, stride = rng.integers(1, 6, 2), rng.integers(1, 4, 2)
    weight = rng.integers(-(largest // 2), largest + 1, (int(rng.integers(1, 5)), shape[0], *kernel))
    conv = Conv2d(weight, stride=(int(stride[0]), int(stride[1])), padding=(int(rng.integers(1, 3)), 2))
    layers += [Layer("w", conv), Layer("n", neuron)]
    return Network(InputSpec((len(layers[0].op.weight[0]), 8, 12), 1000, 250), tuple(layers), 1)


def test_equals_clocked_with_one_event_a_step() -> None:
    """100 random networks, no weight above its threshold: equal in raster, state and range, bit for bit."""
    networks, layers, spikes = 0, 0, []
    for seed in range(100):
        network = one_event_a_step(seed)
        channels, height, width = network.input.shape
        frames = np.zeros((250, 1, channels * height * width), np.int64)
        frames[np.arange(250), 0, np.random.default_rng(seed).integers(0, frames.shape[2], 250)] = 1
        frames = frames.reshape(250, 1, channels, height, width)
        for layer in network:
            if isinstance(layer.op, Conv2d):
                assert layer.op.weight.max() <= network.consumers(layer.name)[0].op.threshold
        fast = run(network, frames, Options(Emission.SHUFFLED), potentials=True)
        slow = clocked.run(network, frames, potentials=True)
        for name, wanted in slow.layers.items():
            np.testing.assert_array_equal(fast.layers[name].raster, wanted.raster)
            np.testing.assert_array_equal(fast.layers[name].potentials, wanted.potentials)
            assert fast.layers[name].v_range == wanted.v_range
            layers += 1
        networks += 1
        spikes.append(list(slow.layers.values())[-1].spikes)
    assert (networks, layers) == (100, 199)
    assert sum(one > 0 for one in spikes) >= 95, spikes
    assert sum(spikes) > 15_000, sum(spikes)
