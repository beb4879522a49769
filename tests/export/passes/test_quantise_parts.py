# SPDX-License-Identifier: Apache-2.0
"""Parts of a split layer are quantised as layers of their own: a scale each, and both engines run them alike."""

from __future__ import annotations

import numpy as np
import pytest

from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.numbers import NumberFormat
from spikefold.export.ops import Concat, Conv2d, Dense, SumPool2d
from spikefold.export.passes.quantise import common_scale, quantise
from spikefold.export.passes.split_channels import split_channels
from spikefold.hardware.loihi import chip as loihi
from spikefold.hardware.simulators import clocked, reference
from spikefold.hardware.speck import chip as speck


@pytest.mark.parametrize("chip", [speck.NUMBERS, loihi.NUMBERS], ids=["speck", "loihi"])
def test_each_part_has_a_scale_of_its_own(chip: NumberFormat) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(0.1, 0.3, (4, 2, 3, 3))
    weight[2:] *= 0.25  # the second part could be four times finer
    layers = (
        Layer("c", Conv2d(weight)),
        Layer("n", Neuron(np.array(0.6))),
        Layer("p", SumPool2d((2, 2))),
        Layer("d", Dense(rng.normal(0.1, 0.3, (3, 24)))),
        Layer("o", Neuron(np.array(0.6))),
    )
    frames = rng.poisson(0.6, (6, 5, 2, 8, 7))
    network = Network(InputSpec((2, 8, 7), 1000, 6, int(frames.max())), layers, 1)
    whole, (first, second) = quantise(network, chip)
    parts, scales = quantise(split_channels(network, "c", 2), chip)
    assert isinstance(parts["n"].op, Concat)
    assert [scale.layer for scale in scales] == ["c.0", "c.1", "d"]
    assert (scales[0].scale, scales[2].scale) == (first.scale, second.scale)
    assert scales[1].scale > 2 * first.scale
    assert scales[1].weight_error < first.weight_error
    one, two = (engine.run(parts, frames, potentials=True) for engine in (reference, clocked))
    for name, trace in one.layers.items():
        assert trace.spikes > 20
        np.testing.assert_array_equal(trace.raster, two.layers[name].raster)
        np.testing.assert_array_equal(trace.potentials, two.layers[name].potentials)
    # split after quantising, a layer keeps its one scale and every spike
    late = reference.run(split_channels(whole, "c", 2), frames).layers
    ours = reference.run(whole, frames).layers
    np.testing.assert_array_equal(np.concatenate([late["n.0"].raster, late["n.1"].raster], axis=2), ours["n"].raster)
    np.testing.assert_array_equal(late["o"].raster, ours["o"].raster)


def test_the_most_events_of_parts_side_by_side_are_those_of_the_largest() -> None:
    layers = (
        Layer("p", SumPool2d((2, 2))),
        Layer("n0", Neuron(np.array(1.0))),
        Layer("both", Concat(), ("p", "n0")),
        Layer("d", Dense(np.full((1, 8), 0.5))),
        Layer("n", Neuron(np.array(1.0))),
    )
    network = Network(InputSpec((1, 4, 4), 1000, 1, 3), layers, 1)
    # a window of 2x2 inputs of up to 3 events, beside spikes
    limit = loihi.NUMBERS.sum_max or 0
    room = (limit - (12 * 8 + 1) / 2) / (12 * 8 * 0.5)
    assert common_scale(network, network["d"], loihi.NUMBERS)[0] == pytest.approx(min(127 / 0.5, room))
    with_more = Network(InputSpec((1, 4, 4), 1000, 1, 100), layers, 1)
    room = (limit - (400 * 8 + 1) / 2) / (400 * 8 * 0.5)
    assert common_scale(with_more, with_more["d"], loihi.NUMBERS) == (pytest.approx(room), "sum")
