# SPDX-License-Identifier: Apache-2.0
"""Training by events: every count is the chip's, and the gradient is that of plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spikefold.errors import UnsupportedError
from spikefold.export.network import Network
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.event_engine import EventClips
from spikefold.hardware.simulators.trace import Trace, concatenate
from spikefold.hardware.speck.chip import NUMBERS
from spikefold.hardware.speck.events.dvs_layer import DvsLayer
from spikefold.hardware.speck.events.simulate import simulate_events
from spikefold.train.data.frames import cut
from spikefold.train.deploy.by_events import BINS, EventNet, cumulative
from tests.train.deploy.event_recordings import (
    BINNING,
    CLASSES,
    DT_US,
    SIDE,
    STEPS,
    engine,
    network,
    recordings,
)


def _simulated(real: Network, clips: list[np.ndarray]) -> Trace:
    integer, _ = quantise(real, NUMBERS)
    layer = DvsLayer((SIDE, SIDE), pool=(1, 1))
    return concatenate([simulate_events(integer, events, layer, dt_us=DT_US, steps=STEPS).trace for events in clips])


@pytest.mark.parametrize("pooled", [False, True])
def test_every_count_is_that_of_the_event_driven_simulator(pooled: bool) -> None:
    clips, _ = recordings(12, seed=0)
    real = network(pooled=pooled)
    activity = EventNet(real, NUMBERS, engine())(clips)
    wanted = _simulated(real, clips)
    compared = spikes = 0
    for name, layer in wanted.layers.items():
        got = activity.values[name].detach().unflatten(0, (BINS, len(clips))).numpy()
        for number in range(BINS):
            until = layer.raster[: (number + 1) * STEPS // BINS].sum(axis=0, dtype=np.int64)
            np.testing.assert_array_equal(got[number], until)
            compared += until.size
        assert layer.spikes > 100
        spikes += layer.spikes
    np.testing.assert_array_equal(activity.spikes.detach()[-1].numpy().sum(), wanted.layers["out"].spikes)
    assert compared > 2000
    assert spikes > 2000


def test_no_event_of_a_crowded_bin_is_left_out() -> None:
    clips, _ = recordings(2, seed=0, events=20_000)
    frames = engine().frames(clips)
    inside = sum(int((events["t"] < STEPS * DT_US).sum()) for events in clips)
    assert frames.sum() == inside > 30_000
    assert frames.max() > 20


def test_fewer_steps_than_bins_are_all_seen() -> None:
    raster = np.arange(6, dtype=np.uint16).reshape(3, 2)
    np.testing.assert_array_equal(cumulative(raster), [[0, 1], [2, 4], [6, 9]])
    seven = np.ones((7, 1), np.uint16)
    np.testing.assert_array_equal(cumulative(seven)[:, 0], [1, 3, 5, 7])


def _plain_gradients(
    real: Network, clips: list[np.ndarray], on_output: np.ndarray, on_hidden: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Gradients of both layers' weights in loops over clips, bins, neurons and synapses; and the silent neurons.

    The loss is ``sum(on_output * output counts) + sum(on_hidden * hidden counts)``, both at the end of the clip.
    """
    integer, scales = quantise(real, NUMBERS)
    w1, w2 = (layer.op.weight for layer in integer.weights)
    theta1, theta2 = (int(layer.neuron.threshold) for layer in integer.neurons)
    scale1, scale2 = (found.scale for found in scales)
    trace = _simulated(real, clips)
    ends = [(number + 1) * STEPS // BINS for number in range(BINS)]
    grad1, grad2, silent = np.zeros(w1.shape), np.zeros(w2.shape), 0
    for clip, events in enumerate(clips):
        frames = cut(events, BINNING).astype(np.int64)
        hidden = trace.layers["n"].raster[:, clip].astype(np.int64)
        output = trace.layers["out"].raster[:, clip].astype(np.int64)
        inputs = [np.pad(frames[:end].sum(0), ((0, 0), (1, 1), (1, 1))) for end in ends]
        spikes = [hidden[:end].sum(0) for end in ends]
        fired = [output[:end].sum(0) for end in ends]
        on_spikes = [np.zeros(spikes[0].shape) for _ in ends]
        on_spikes[-1] += on_hidden[clip]
        for k in range(len(w2)):
            drive = [int((w2[k] * counts.ravel()).sum()) for counts in spikes]
            at = _highest(drive)
            if drive[at] <= 0 and fired[-1][k, 0, 0] == 0:
                silent += 1
                continue
            for i in range(w2.shape[1]):
                grad2[k, i] += on_output[clip, k] * spikes[at].ravel()[i] * scale2 / theta2
                on_spikes[at].ravel()[i] += on_output[clip, k] * w2[k, i] / theta2
        for f, y, x in np.ndindex(spikes[0].shape):
            seen = [counts[:, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3] for counts in inputs]
            drive = [int((w1[f] * patch).sum()) for patch in seen]
            for number in range(BINS):
                at = _highest(drive[: number + 1])
                if drive[at] <= 0 and spikes[number][f, y, x] == 0:
                    silent += 1
                    continue
                grad1[f] += on_spikes[number][f, y, x] * seen[at] * scale1 / theta1
    return grad1, grad2, silent


def _highest(drive: list[int]) -> int:
    """The last bin of the highest drive: PyTorch's cummax names the last of equal ones."""
    return max(range(len(drive)), key=lambda number: (drive[number], number))


def test_the_gradient_is_that_of_plain_loops() -> None:
    clips, _ = recordings(3, seed=1)
    real, rng = network(seed=2), np.random.default_rng(3)
    on_output, on_hidden = rng.normal(size=(3, 6)), 0.1 * rng.normal(size=(3, 4, 4, 4))
    net = EventNet(real, NUMBERS, engine())
    activity = net(clips)
    hidden = activity.values["n"].unflatten(0, (BINS, 3))[-1]
    loss = (activity.spikes[-1] * torch.tensor(on_output)).sum() + (hidden * torch.tensor(on_hidden)).sum()
    loss.backward()
    wanted = _plain_gradients(real, clips, on_output, on_hidden)
    found = [parameter.grad.numpy() for parameter in net.parameters()]
    assert len(found) == 2
    for got, expected in zip(found, wanted[:2], strict=True):
        assert np.abs(expected).max() > 1
        assert np.count_nonzero(expected) > 0.5 * expected.size
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert wanted[2] > 10  # some neurons were silent, and got no gradient


def test_steps_along_the_gradient_learn_in_integers_that_the_chip_holds() -> None:
    clips, labels = recordings(30, seed=4)
    fresh, fresh_labels = recordings(30, seed=5)
    net = EventNet(network(seed=6), NUMBERS, engine())
    before = _accuracy(net.to_network(), fresh, fresh_labels)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(15):
        logits = 0.05 * net(clips).spikes[-1].unflatten(1, (CLASSES, -1)).sum(2)
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).backward()
        optimiser.step()
    assert before < 0.6
    assert _accuracy(net.to_network(), fresh, fresh_labels) > 0.9
    integer, _ = quantise(net.to_network(), NUMBERS)
    for layer in integer.weights:
        assert layer.op.weight.min() >= -128
        assert layer.op.weight.max() <= 127
        assert np.abs(layer.op.weight).max() >= 127  # all of the eight bits are used


def _accuracy(real: Network, clips: list[np.ndarray], labels: np.ndarray) -> float:
    trace = _simulated(real, clips)
    assert trace.spikes > 1000
    return float((trace.output_counts(CLASSES).argmax(1) == labels).mean())


def test_a_bias_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="no rule for a bias") as caught:
        EventNet(network(bias=True), NUMBERS, engine())
    assert [issue.where for issue in caught.value.issues] == ["c"]


def test_an_engine_that_is_asked_for_spikes_only_finds_the_same_spikes() -> None:
    clips, labels = recordings(4, seed=7)
    integer, _ = quantise(network(bias=True), NUMBERS)
    recorded = engine()
    frames, sensor = recorded.frames(clips), (SIDE, SIDE)
    full = recorded.engine(integer, EventClips(frames, labels, lambda: clips, sensor, 1, 0))
    lean = recorded.engine(integer, EventClips(frames, labels, lambda: clips, sensor, 1, 0, spikes_only=True))
    assert full.trace.spikes > 500
    for name, layer in full.trace.layers.items():
        np.testing.assert_array_equal(lean.trace.layers[name].raster, layer.raster)
    assert full.measures is not None
    assert full.measures.gap
    assert full.measures.loads
    assert (lean.measures, lean.went_in) == (None, full.went_in)
