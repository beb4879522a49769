# SPDX-License-Identifier: Apache-2.0
"""Raw events one by one: equal to frames where those keep the order, and to the plain loop where they do not."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.errors import ConfigError, NetworkError
from spikefold.export.network import InputSpec, Network
from spikefold.hardware.speck.events.dvs_layer import DvsLayer, entering
from spikefold.hardware.speck.events.options import Options, Tick
from spikefold.hardware.speck.events.result import EventRun
from spikefold.hardware.speck.events.simulate import simulate, simulate_events
from spikefold.train.data.events import pack_events
from tests.hardware.speck.events.event_cases import Case, cases, one_core, rows
from tests.hardware.speck.events.plain_events import Spot, plain

DT_US = 1000


def events_of(network: Network, rng: np.random.Generator, steps: int, each: int) -> np.ndarray:
    """Random events on the network's own map, ``each`` to a bin, times in any order."""
    channels, height, width = network.input.shape
    bins = np.repeat(np.arange(steps), each)
    t = bins * DT_US + rng.integers(0, DT_US, len(bins))
    x, y, p = (rng.integers(0, most, len(bins)) for most in (width, height, channels))
    return pack_events(t, x, y, p)[rng.permutation(len(bins))]


def frames_of(network: Network, events: np.ndarray, steps: int) -> np.ndarray:
    frames = np.zeros((steps, 1, *network.input.shape), np.int64)
    places: Any = (events["t"] // DT_US, 0, events["p"], events["y"], events["x"])
    np.add.at(frames, places, 1)
    return frames


def own_layer(network: Network) -> DvsLayer:
    """Passes the network's map through as it is."""
    return DvsLayer(network.input.shape[1:], merge=network.input.shape[0] == 1)


def same(one: EventRun, other: EventRun) -> int:
    """Equal in everything; how many spikes that were."""
    assert list(one.trace.layers) == list(other.trace.layers)
    for name, layer in one.trace.layers.items():
        np.testing.assert_array_equal(layer.raster, other.trace.layers[name].raster)
        np.testing.assert_array_equal(layer.potentials, other.trace.layers[name].potentials)
        assert layer.v_range == other.trace.layers[name].v_range
    for load, wanted in zip(one.loads, other.loads, strict=True):
        np.testing.assert_array_equal(load.events, wanted.events)
        np.testing.assert_array_equal(load.operations, wanted.operations)
    return one.trace.spikes


def test_equals_frames_with_one_event_a_bin() -> None:
    """Random networks under all options: a bin of one event has one order."""
    compared: Counter[str] = Counter()

    @settings(max_examples=60, derandomize=True)
    @given(cases())
    def compare(case: Case) -> None:
        network, _, options = case
        events = events_of(network, np.random.default_rng(options.seed), 30, 1)
        raw = simulate_events(
            network, events, own_layer(network), dt_us=DT_US, steps=30, options=options, potentials=True
        )
        binned = simulate(network, frames_of(network, events, 30), options, potentials=True)
        compared["spikes"] += same(raw, binned)
        compared["networks"] += 1

    compare()
    assert compared["networks"] >= 40
    assert compared["spikes"] > 2000, compared


def test_equals_the_plain_loop_with_many_events_a_bin_in_any_order() -> None:
    compared: Counter[str] = Counter()

    @settings(max_examples=40, derandomize=True)
    @given(cases(), st.integers(0, 9))
    def compare(case: Case, seed: int) -> None:
        network, _, options = case
        events = events_of(network, np.random.default_rng(seed), 3, 10)
        raw = simulate_events(network, events, own_layer(network), dt_us=DT_US, options=options, potentials=True)
        ordered = events[np.argsort(events["t"], kind="stable")]

        def spots(step: int, clip: int) -> list[Spot]:
            here = ordered[ordered["t"] // DT_US == step]
            return [(int(e["p"]), int(e["y"]), int(e["x"])) for e in here]

        for name, wanted in plain(network, (3, 1), spots, options).items():
            layer = raw.trace.layers[name]
            np.testing.assert_array_equal(layer.raster, wanted.raster)
            np.testing.assert_array_equal(layer.potentials, wanted.states)
            compared["spikes"] += layer.spikes
        in_raster_order = simulate(network, frames_of(network, events, 3), options)
        compared["other than frames"] += any(
            not np.array_equal(layer.raster, in_raster_order.trace.layers[name].raster)
            for name, layer in raw.trace.layers.items()
        )

    compare()
    assert compared["spikes"] > 1000, compared
    assert compared["other than frames"] > 5, compared


def test_bins_decide_what_is_recorded_and_no_spike() -> None:
    """Without a tick the spikes are the same in bins of 1 ms, 7 ms or one bin."""
    rng = np.random.default_rng(0)
    network = one_core(rng.integers(-3, 5, (3, 6)), 5)
    events = events_of(network, rng, 20, 4)
    layer, never = own_layer(network), Options(tick=Tick.NEVER)
    found = [
        simulate_events(network, events, layer, dt_us=dt, options=never).trace.layers["n"].raster
        for dt in (DT_US, 7 * DT_US, 20 * DT_US)
    ]
    assert [len(raster) for raster in found] == [20, 3, 1]
    assert found[0].sum() > 20
    np.testing.assert_array_equal(found[0].sum(axis=0), found[2][0])
    np.testing.assert_array_equal(np.add.reduceat(found[0], [0, 7, 14]), found[1])


def test_steps_cut_or_lengthen_the_clip() -> None:
    """Events at 0, 999, 1000 and 5000 us, each fires; four bins of 1 ms leave the last one out."""
    network, layer = one_core([[1]], 1), DvsLayer((1, 1), merge=True)
    events = pack_events(np.array([0, 999, 1000, 5000]), *(np.zeros(4, np.int64) for _ in "xyp"))
    counts = {
        steps: simulate_events(network, events, layer, dt_us=DT_US, steps=steps)
        .trace.layers["n"]
        .raster.ravel()
        .tolist()
        for steps in (None, 4, 7)
    }
    assert counts == {None: [2, 1, 0, 0, 0, 1], 4: [2, 1, 0, 0], 7: [2, 1, 0, 0, 0, 1, 0]}
    silent = simulate_events(network, events[:0], layer, dt_us=DT_US)
    assert (silent.trace.layers["n"].raster.shape, silent.trace.spikes) == ((1, 1, 1, 1, 1), 0)


def test_the_sensor_layer_is_applied() -> None:
    """Two ON events of one pooled pixel and an OFF event outside the cut: the address counts what enters."""
    network = one_core([[1, 10]], 100)
    layer = DvsLayer((4, 4), merge=True, pool=(2, 2), origin=(1, 0), size=(1, 2), mirror_x=True)
    events = pack_events(*(np.array(c) for c in ([1, 2, 3], [0, 1, 3], [2, 3, 0], [1, 1, 0])))
    addresses, _ = entering(layer, network, events)
    assert addresses.tolist() == [1, 1]
    found = simulate_events(network, events, layer, dt_us=DT_US, potentials=True)
    assert found.trace.layers["n"].potentials.item() == 20
    assert found.loads[0].events.item() == 2


def test_a_clip_without_length_and_another_map_are_refused() -> None:
    network, layer = one_core([[1]], 1), DvsLayer((1, 1), merge=True)
    events = pack_events(*(np.zeros(1, np.int64) for _ in "txyp"))
    wrong: Any = ({"dt_us": 0}, {"dt_us": 1, "steps": 0})
    for lengths in wrong:
        with pytest.raises(ConfigError, match="whole numbers above 0"):
            simulate_events(network, events, layer, **lengths)
    with pytest.raises(NetworkError, match="the network reads"):
        simulate_events(network, events, DvsLayer((2, 2)), dt_us=1)
    assert simulate(network, rows([1])).trace.spikes == 1
    assert network.input == InputSpec((1, 1, 1), 1000, 1)
