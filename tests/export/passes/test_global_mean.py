# SPDX-License-Identifier: Apache-2.0
"""A mean over the whole map of spikes goes into the dense layer behind it, spike for spike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import AvgPool2d, Conv2d, Dense
from spikefold.export.passes.fold import fold
from spikefold.export.passes.fold_global_mean import fold_global_mean
from spikefold.hardware.simulators import reference

ONE = Neuron(np.array(0.75))


def _network(kernel: tuple[int, int]) -> Network:
    rng = np.random.default_rng(0)
    weights = rng.normal(0.1, 0.3, (2, 4, 2, 3, 3))
    features = 4 * (4 // kernel[0]) * (6 // kernel[1])
    layers = (
        Layer("c1", Conv2d(weights[0], padding=(1, 1)), ("input",)),
        Layer("n1", ONE),
        Layer("c2", Conv2d(weights[1], padding=(1, 1)), ("input",)),
        Layer("n2", ONE),
        Layer("mean", AvgPool2d(kernel), ("n1", "n2")),
        Layer("fc", Dense(rng.normal(0.3, 0.6, (6, features)), rng.normal(0, 0.1, 6)), ("mean",)),
        Layer("out", ONE),
    )
    return Network(InputSpec((2, 4, 6), 1000, 12), layers, 3)


def test_spikes_are_those_of_the_pooled_network() -> None:
    network = _network((4, 6))
    folded = fold_global_mean(network)
    assert folded.history[-1] == "fold_global_mean"
    assert [la.name for la in folded] == ["c1", "n1", "c2", "n2", "fc", "out"]
    assert folded["fc"].inputs == ("n1", "n2")
    assert folded["fc"].op.weight.shape == (6, 4 * 4 * 6)
    frames = np.random.default_rng(1).poisson(0.4, (12, 20, 2, 4, 6))
    spikes = [reference.run(which, frames).layers["out"].raster for which in (network, folded, fold(network))]
    assert 0.05 < spikes[0].mean() < 0.9
    assert spikes[0].size == 12 * 20 * 6
    assert np.array_equal(spikes[0], spikes[1])
    assert np.array_equal(spikes[0], spikes[2])


def test_every_position_has_its_share_of_the_weight() -> None:
    network = _network((4, 6))
    before, after = (which["fc"].op for which in (network, fold_global_mean(network)))
    assert isinstance(before, Dense)
    assert isinstance(after, Dense)
    assert np.array_equal(after.weight.reshape(6, 4, 24), np.repeat(before.weight[:, :, None], 24, axis=2) / 24)
    assert np.array_equal(after.bias, before.bias)


def test_what_does_not_meet_the_precondition_stays() -> None:
    smaller, whole = _network((2, 3)), _network((4, 6))
    assert fold_global_mean(smaller) is smaller, "a pool over a part of the map"
    behind_weights = replace(
        whole, layers=tuple(replace(la, inputs=("c1", "c2")) if la.name == "mean" else la for la in whole)
    )
    assert fold_global_mean(behind_weights) is behind_weights, "a mean of currents is fold_pooling's"
    conv = Layer("fc", Conv2d(np.ones((6, 4, 1, 1))), ("mean",))
    read_by_conv = replace(whole, layers=tuple(conv if la.name == "fc" else la for la in whole))
    assert fold_global_mean(read_by_conv) is read_by_conv
