# SPDX-License-Identifier: Apache-2.0
"""A layer split over two cores: what of the unsplit network it keeps event by event, and what order takes away."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from spikefold.errors import UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.ops import Concat, Conv2d, Dense, MaxPool2d, SumPool2d
from spikefold.export.passes.split_channels import split_channels
from spikefold.hardware.simulators import clocked
from spikefold.hardware.speck.events.options import Emission, Options
from spikefold.hardware.speck.events.queue import sources_of
from spikefold.hardware.speck.events.simulate import run, simulate


def network(rng: np.random.Generator, least: int, theta: int = 6) -> Network:
    """Three cores with a pool behind the second, which has five channels."""
    kind = Neuron(np.array(theta), reset=Reset.SUBTRACT, max_spikes=None)
    layers = (
        Layer("a", Conv2d(rng.integers(least, 6, (3, 2, 3, 3)), padding=(1, 1))),
        Layer("na", kind),
        Layer("b", Conv2d(rng.integers(least, 6, (5, 3, 3, 3)))),
        Layer("nb", kind),
        Layer("p", SumPool2d((2, 2))),
        Layer("c", Dense(rng.integers(least, 4, (4, 20)))),
        Layer("nc", kind),
    )
    return Network(InputSpec((2, 6, 6), 1000, 5), layers, 2)


def joined(rasters: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(rasters, axis=2)


def test_addresses_behind_concat_and_pool() -> None:
    """Two channels of three lie behind one of another layer: (c, y, x) goes to (1 + c, y // 2, x // 2)."""
    fires = Neuron(np.array(1))
    layers = (
        Layer("a", Conv2d(np.ones((1, 1, 1, 1), np.int64))),
        Layer("na", fires),
        Layer("b", Conv2d(np.ones((2, 1, 1, 1), np.int64)), ("input",)),
        Layer("nb", fires),
        Layer("both", Concat(), ("na", "nb")),
        Layer("p", SumPool2d((2, 2))),
        Layer("c", Dense(np.ones((1, 3 * 1 * 2), np.int64))),
        Layer("nc", fires),
    )
    network = Network(InputSpec((1, 2, 5), 1000, 1), layers, 1)
    first, second = sources_of(network, "c")
    assert (first.name, second.name) == ("na", "nb")
    assert first.addresses.tolist() == [0, 0, 3, 3, -1] * 2
    assert second.addresses.tolist() == [1, 2, 1, 2, 4, 5, 4, 5, -1, -1] * 2


def test_a_split_layer_fires_as_before_and_so_does_the_rest_where_order_does_not_matter() -> None:
    """Weights 0..5 under threshold 6, subtract, no bias: every layer keeps every count of every bin."""
    compared = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        whole = network(rng, least=0)
        frames = rng.integers(0, 2, (5, 2, 2, 6, 6))
        parts = split_channels(split_channels(whole, "a", [1, 2]), "b", 2)
        one, other = run(whole, frames), run(parts, frames)
        for name in ("a", "b"):
            split = [layer.raster for key, layer in other.layers.items() if key.startswith(f"n{name}.")]
            assert len(split) == 2
            np.testing.assert_array_equal(one.layers[f"n{name}"].raster, joined(split))
        np.testing.assert_array_equal(one.layers["nc"].raster, other.layers["nc"].raster)
        np.testing.assert_array_equal(
            clocked.run(parts, frames).output_counts(2), clocked.run(whole, frames).output_counts(2)
        )
        compared += one.layers["nc"].spikes
    assert compared > 3000, compared


def test_with_negative_weights_only_the_split_layer_itself_is_kept() -> None:
    """In every order of emission but a shuffled one, whose sweeps are drawn for each core, and its loads add up."""
    differed, spikes = Counter[str](), 0
    fixed = [order for order in Emission if order is not Emission.SHUFFLED]
    for seed in range(10):
        rng = np.random.default_rng(seed)
        whole = network(rng, least=-4)
        frames = rng.integers(0, 3, (5, 2, 2, 6, 6))
        parts = split_channels(whole, "b", [2, 3])
        for order in fixed:
            one, other = (simulate(net, frames, Options(emission=order)) for net in (whole, parts))
            split = [other.trace.layers[f"nb.{part}"].raster for part in (0, 1)]
            np.testing.assert_array_equal(one.trace.layers["nb"].raster, joined(split))
            loads = {load.name: load for load in other.loads}
            np.testing.assert_array_equal(one.loads[1].operations, loads["b.0"].operations + loads["b.1"].operations)
            np.testing.assert_array_equal(one.loads[1].events, loads["b.1"].events)
            np.testing.assert_array_equal(one.loads[2].events, loads["c"].events)
            differed[order] += not np.array_equal(one.trace.layers["nc"].raster, other.trace.layers["nc"].raster)
            spikes += one.trace.layers["nb"].spikes
    assert spikes > 3000, spikes
    assert min(differed[order] for order in fixed) > 2, differed


def test_a_first_dense_layer_in_parts_keeps_the_whole_network() -> None:
    """One input event, one event of the first core; its parts send features 4..2, then 1..0: the same order.

    Ascending addresses go the other way, the parts too; descending addresses meet parts that do not.
    """
    differed, spikes = 0, 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        kind = Neuron(np.array(5), reset=Reset.ZERO)
        layers = (
            Layer("a", Dense(rng.integers(-3, 6, (5, 8)))),
            Layer("na", kind),
            Layer("b", Dense(rng.integers(-5, 6, (4, 5)))),
            Layer("nb", kind),
        )
        whole = Network(InputSpec((2, 2, 2), 1000, 10), layers, 2)
        parts = split_channels(whole, "a", [2, 3])
        frames = rng.integers(0, 4, (10, 2, 2, 2, 2))
        one, other = (run(net, frames, potentials=True).layers["nb"] for net in (whole, parts))
        np.testing.assert_array_equal(one.raster, other.raster)
        np.testing.assert_array_equal(one.potentials, other.potentials)
        upward = Options(Emission.ADDRESSES_ASCENDING)
        np.testing.assert_array_equal(
            run(whole, frames, upward).layers["nb"].raster, run(parts, frames, upward).layers["nb"].raster
        )
        down = Options(Emission.ADDRESSES_DESCENDING)
        one_way, other_way = (run(net, frames, down).layers["nb"].raster for net in (whole, parts))
        differed += not np.array_equal(one_way, other_way)
        spikes += one.spikes
    assert spikes > 300, spikes
    assert differed > 2, differed


def test_a_first_convolution_in_parts_keeps_the_whole_network_in_the_default_order() -> None:
    """Features are outermost in the order of emission, so the part with the last features comes first whole."""
    differed, spikes = 0, 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        whole = network(rng, least=-4)
        parts = split_channels(whole, "a", [1, 2])
        frames = rng.integers(0, 3, (5, 2, 2, 6, 6))
        one, other = (run(net, frames, potentials=True).layers["nc"] for net in (whole, parts))
        np.testing.assert_array_equal(one.raster, other.raster)
        np.testing.assert_array_equal(one.potentials, other.potentials)
        upward = Options(Emission.ADDRESSES_ASCENDING)
        up, down = (run(net, frames, upward).layers["nc"].raster for net in (whole, parts))
        differed += not np.array_equal(up, down)
        spikes += one.spikes
    assert spikes > 100, spikes
    assert differed > 2, differed


def test_a_layer_that_sends_no_events_is_refused_by_the_wiring() -> None:
    """The simulator refuses it before; the wiring alone must not guess."""
    layers = (Layer("m", MaxPool2d((1, 1))), Layer("a", Dense(np.array([[1]]))), Layer("n", Neuron(np.array(1))))
    with pytest.raises(UnsupportedError, match="MaxPool2d sends no events"):
        sources_of(Network(InputSpec((1, 1, 1), 1000, 1), layers, 1), "a")
