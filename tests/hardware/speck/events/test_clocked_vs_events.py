# SPDX-License-Identifier: Apache-2.0
"""Clocked against event-driven: the measure by hand, on networks that must agree, and on one that cannot."""

from __future__ import annotations

import json

import numpy as np
import pytest

from spikefold.errors import DataError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.ops import Dense
from spikefold.hardware.speck.board.compare import spike_difference
from spikefold.hardware.speck.events.clocked_vs_events import compare
from spikefold.hardware.speck.events.options import Emission, Options
from tests.hardware.speck.events.event_cases import one_core, rows, two_cores


def others(order: Emission) -> list[str]:
    """The orders of emission but one, as the report names them."""
    return [other.value for other in Emission if other is not order]


def test_spike_difference_by_hand() -> None:
    """Counts 2, 0, 1 against 1, 3, 1: 4 of 3. Bins of a neuron and clip add up first."""
    one = np.array([[[1, 0, 0]], [[1, 0, 1]]])[..., None, None].astype(np.uint16)
    other = np.array([[[0, 3, 1]], [[1, 0, 0]]])[..., None, None].astype(np.uint16)
    assert spike_difference(one, other) == 4 / 3
    assert spike_difference(one * 0, other) is None


def test_an_inhibitory_event_of_the_same_bin_comes_too_late_on_the_chip() -> None:
    """+2 fires, then -2 is held at 0: three spikes event by event, two in clocked steps, one bin of three differs."""
    network = one_core([[2, -2]], 2, steps=3, v_min=0.0)
    gap = compare(network, rows([1, 1], [1, 0], [1, 0]))
    (layer,) = gap.layers
    assert (layer.name, layer.spikes_clocked, layer.spikes_events) == ("n", 2, 3)
    assert (layer.difference, layer.equal_share) == (0.5, 2 / 3)
    assert layer.emission == dict.fromkeys(others(Emission.FEATURES_DESCENDING), 0.0)
    assert gap.warnings == ()
    assert (gap.clips, gap.predictions_changed, gap.accuracy_clocked, gap.accuracy_events) == (1, 0, None, None)


def test_nothing_differs_where_both_are_proven_equal() -> None:
    """One layer, 0 <= w <= threshold, subtract: see the test of the engines."""
    rng = np.random.default_rng(0)
    network = one_core(rng.integers(0, 6, (4, 8)), 5, steps=6)
    gap = compare(network, rng.integers(0, 3, (6, 3, 1, 1, 8)))
    assert gap.layers[0].spikes_clocked == gap.layers[0].spikes_events > 100
    assert (gap.layers[0].difference, gap.layers[0].equal_share) == (0.0, 1.0)


def test_emission_orders_are_measured_against_the_one_asked_for() -> None:
    """The feature of +2 before that of -2 fires once; after it, not: SD 1 from the first, none from the second."""
    network = two_cores([-2, 2])
    first, last = compare(network, rows([1])).layers
    assert first.emission == dict.fromkeys(others(Emission.FEATURES_DESCENDING), 0.0)
    assert (last.emission["addresses-ascending"], last.emission["addresses-descending"]) == (1.0, 0.0)
    turned = compare(network, rows([1]), options=Options(emission=Emission.ADDRESSES_ASCENDING)).layers[1]
    assert turned.emission == dict.fromkeys(others(Emission.ADDRESSES_ASCENDING))
    assert (turned.spikes_clocked, turned.spikes_events, turned.difference) == (0, 0, None)


def test_a_weight_above_the_threshold_is_warned_of_with_both_numbers() -> None:
    network = two_cores([2, 3])
    (warning,) = compare(network, rows([1])).warnings
    assert (warning.where, warning.got, warning.limit) == ("d", "largest weight 3", "threshold 2")
    assert compare(two_cores([2, 2]), rows([1])).warnings == ()


def test_accuracy_and_changed_predictions() -> None:
    """Class 0 wins a clip in clocked steps, class 1 event by event; another clip is alike in both."""
    weight = np.array([[1, 0, 0], [0, 2, -2]])
    layers = (Layer("w", Dense(weight)), Layer("n", Neuron(np.array(2), reset=Reset.SUBTRACT, v_min=0.0)))
    network = Network(InputSpec((1, 1, 3), 1000, 1), layers, 2)
    frames = np.concatenate([rows([0, 1, 1]), rows([2, 0, 0])], axis=1)
    gap = compare(network, frames, np.array([1, 0]))
    assert gap.accuracy_clocked is not None
    assert gap.accuracy_events is not None
    assert (gap.accuracy_clocked.right, gap.accuracy_events.right, gap.accuracy_events.clips) == (1, 2, 2)
    assert gap.predictions_changed == 1
    plain = json.loads(json.dumps(gap.to_json()))
    assert plain["accuracy_clocked"]["share"] == 0.5
    assert plain["accuracy_events"]["interval"][1] == 1.0
    assert plain["layers"][0]["spikes_events"] == 2
    assert json.loads(json.dumps(compare(network, frames).to_json()))["accuracy_events"] is None


def test_labels_must_match_the_clips() -> None:
    with pytest.raises(DataError, match=r"labels \(2,\) for 1 clips"):
        compare(one_core([[1]], 1), rows([1]), np.array([0, 0]))
