# SPDX-License-Identifier: Apache-2.0
"""Adaptation learns in the chip's integers, keeps a budget, fades biases; equal inputs give equal weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spikefold.config import AdaptConfig, Config, ModelConfig, TrainConfig
from spikefold.energy.counts.count import count
from spikefold.errors import ConfigError
from spikefold.export.io import identity
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.numbers import NumberFormat
from spikefold.export.ops import Conv2d, Dense
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.simulators import clocked
from spikefold.hardware.simulators.accuracy import predictions
from spikefold.hardware.speck import chip as speck
from spikefold.train.data.clips import ClipSet
from spikefold.train.deploy.adapt import Adapted, Task, adapt
from spikefold.train.deploy.trial import InSteps
from spikefold.train.evaluate import class_logits, evaluate
from spikefold.train.loop import train
from spikefold.train.state import Epoch

SPEC = InputSpec((2, 8, 8), 1000, 6, 9)
TRAIN = TrainConfig(batch=10, shift=0, gain=10.0)


def _clips(count: int, seed: int) -> ClipSet:
    """Three classes: events at the top, at the bottom, on the left."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    rates = np.full((3, 8, 8), 0.1)
    rates[0, :3], rates[1, 5:], rates[2, :, :3] = 0.9, 0.9, 0.9
    frames = rng.poisson(rates[labels][None, :, None].repeat(6, 0).repeat(2, 2)).clip(0, 9).astype(np.uint16)
    return ClipSet(frames, labels)


def _network(theta: float = 1.0) -> Network:
    rng = np.random.default_rng(0)
    layers = (
        Layer("c1", Conv2d(rng.normal(0.05, 0.3, (8, 2, 4, 4)), rng.normal(0, 0.1, 8), (2, 2), (1, 1))),
        Layer("n1", Neuron(np.array(theta))),
        Layer("c2", Conv2d(rng.normal(0.05, 0.3, (8, 8, 3, 3)), None, (1, 1), (1, 1))),
        Layer("n2", Neuron(np.array(theta))),
        Layer("d", Dense(rng.normal(0.0, 0.2, (6, 128)))),
        Layer("out", Neuron(np.array(theta))),
    )
    return Network(SPEC, layers, 3)


@pytest.fixture(scope="module")
def taught() -> np.ndarray:
    """Logits of a trained float network on the training clips."""
    model = ModelConfig(channels=(6,), strides=(2,), attention="asa2", voters=2)
    config = Config(model=model, train=TRAIN.model_copy(update={"epochs": 8, "lr": 0.02}))
    trained = train(config, _clips(60, 0), 3, lambda epoch: None)
    held_out = _clips(60, 1)
    assert (evaluate(trained, held_out.frames).argmax(1) == held_out.labels).mean() > 0.9
    return class_logits(trained, _clips(60, 0).frames, TRAIN)


def _adapt(
    settings: AdaptConfig,
    *,
    taught: np.ndarray | None = None,
    clips: ClipSet | None = None,
    chip: NumberFormat = speck.NUMBERS,
    theta: float = 1.0,
    from_far: bool = False,
) -> tuple[Adapted, list[Epoch]]:
    told: list[Epoch] = []
    task = Task(chip, clips or _clips(60, 0), taught, settings, TRAIN, 0, from_far)
    return adapt(_network(theta), task, told.append), told


def _accuracy(network: Network) -> float:
    clips = _clips(60, 1)
    trace = clocked.run(quantise(network, speck.NUMBERS)[0], clips.frames)
    assert all(layer.spikes > 100 for layer in trace.layers.values())
    return float((predictions(trace.output_counts(3)) == clips.labels).mean())


def _synops(network: Network) -> float:
    clips = _clips(60, 0)
    integer, _ = quantise(network, speck.NUMBERS)
    return count(integer, clips.frames, clocked.run(integer, clips.frames)).total("events") / 60


def test_a_teacher_is_believed_where_the_labels_are_wrong(taught: np.ndarray) -> None:
    clips = _clips(60, 0)
    wrong = ClipSet(clips.frames, (clips.labels + 1) % 3)
    student = _adapt(AdaptConfig(epochs=6, lr=0.01, distill=1.0, blend=1.0), taught=taught, clips=wrong)[0]
    assert _accuracy(student.network) > 0.9
    untaught = _adapt(AdaptConfig(epochs=6, lr=0.01, distill=0.0, blend=1.0), taught=taught, clips=wrong)[0]
    assert _accuracy(untaught.network) < 0.2


def test_the_integer_network_learns() -> None:
    before = _accuracy(_network())
    adapted, told = _adapt(AdaptConfig(epochs=6, lr=0.01, distill=0.0, blend=1.0))
    assert before < 0.6
    assert _accuracy(adapted.network) > 0.9
    assert [e.number for e in told] == [1, 2, 3, 4, 5, 6]
    assert tuple(told) == adapted.epochs
    assert told[-1].loss < 0.5 * told[0].loss
    assert adapted.network.history[-1] == "adapt"


def test_equal_inputs_give_equal_weights_and_coarser_integers_other_ones() -> None:
    settings = AdaptConfig(epochs=1, lr=0.01)
    one, two = _adapt(settings)[0].network, _adapt(settings)[0].network
    assert identity(one) == identity(two)
    assert identity(one) != identity(_adapt(settings, chip=replace(speck.NUMBERS, weight_bits=4))[0].network)


def test_no_epochs_change_nothing() -> None:
    adapted, told = _adapt(AdaptConfig(epochs=0))
    assert identity(adapted.network) == identity(_network())
    assert told == []


def test_a_budget_removes_channels_and_is_kept() -> None:
    full = _synops(_network())
    budget = 0.6 * full
    adapted, _ = _adapt(AdaptConfig(epochs=6, lr=0.01, distill=0.0, synops_budget=budget))
    assert _synops(adapted.network) < 1.05 * budget
    assert adapted.synops_before == pytest.approx(full, rel=0.02)
    assert sum(kept for kept, of in adapted.channels.values()) < 16
    for name, (kept, of) in adapted.channels.items():
        assert of == 8
        assert adapted.network.shapes[name][0] == kept >= 2
    assert _accuracy(adapted.network) > 0.85


def test_a_budget_that_nothing_can_meet_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be met") as caught:
        _adapt(AdaptConfig(epochs=1, synops_budget=10.0))
    assert caught.value.where == "adapt.synops_budget"


def test_biases_fade_out_and_the_network_still_learns() -> None:
    adapted, _ = _adapt(AdaptConfig(epochs=6, lr=0.01, distill=0.0, bias="fade"))
    assert all(la.op.bias is None for la in adapted.network if isinstance(la.op, Conv2d | Dense))
    assert _accuracy(adapted.network) > 0.9


@pytest.mark.parametrize("cap", [False, True])
def test_weights_stay_below_the_threshold_where_they_must(cap: bool) -> None:
    adapted, _ = _adapt(AdaptConfig(epochs=2, lr=0.01, distill=0.0, cap_weights=cap, blend=1.0), theta=0.4)
    largest = max(float(la.op.weight.max()) for la in adapted.network if isinstance(la.op, Conv2d | Dense))
    assert (largest <= 0.4 + 1e-6) == cap


def test_the_result_is_the_blend_of_start_and_end() -> None:
    settings = AdaptConfig(epochs=1, lr=0.01, distill=0.0, cap_weights=False, blend=1.0)
    tuned = _adapt(settings)[0].network
    blended = _adapt(settings.model_copy(update={"blend": 0.25}))[0].network
    for before, after, mixed in zip(_network(), tuned, blended, strict=True):
        if isinstance(before.op, Conv2d | Dense):
            weights = [layer.op.weight for layer in (before, after, mixed)]
            assert not np.allclose(weights[0], weights[1], atol=1e-4)
            np.testing.assert_allclose(weights[2], 0.75 * weights[0] + 0.25 * weights[1], atol=1e-6)


@pytest.mark.parametrize("gone", [{"bias": "fade"}, {"synops_budget": 1000.0}, {}])
def test_nothing_is_blended_with_a_network_that_lacks_what_it_had(gone: dict[str, object]) -> None:
    full = _synops(_network())
    if "synops_budget" in gone:
        gone = {"synops_budget": 0.7 * full}
    results = [
        _adapt(AdaptConfig(epochs=1, lr=0.01, distill=0.0, blend=share, **gone), from_far=not gone)[0].network
        for share in (0.1, 1.0)
    ]
    assert identity(results[0]) == identity(results[1]) != identity(_network())


def test_recordings_held_out_choose_in_steps_too() -> None:
    told: list[Epoch] = []
    trial = InSteps(_clips(30, 5).frames, _clips(30, 5).labels)
    settings = AdaptConfig(epochs=3, lr=0.02, distill=0)
    found = adapt(_network(), Task(speck.NUMBERS, _clips(60, 0), None, settings, TRAIN, 0, trial=trial), told.append)
    assert found.selection is not None
    assert [one.name for one in found.selection.candidates] == [
        "before",
        "epoch 1",
        "epoch 2",
        "epoch 3",
        "blend 0.5",
    ]
    assert found.selection.kept.name != "before"
    assert found.selection.kept.accuracy > 0.8 > found.selection.candidates[0].accuracy
    assert identity(found.network) == identity(found.selection.kept.network)
    assert all(one.spikes > 10 for one in found.selection.candidates)
    assert [epoch.judged for epoch in told] == [one.accuracy for one in found.selection.candidates[1:4]]
    # a step far too large: what was there before is the very network that comes back
    wild = settings.model_copy(update={"lr": 50.0, "blend": 1.0})
    spoilt = adapt(found.network, Task(speck.NUMBERS, _clips(60, 0), None, wild, TRAIN, 0, trial=trial), told.append)
    assert spoilt.selection is not None
    assert spoilt.selection.kept.name == "before"
    assert spoilt.network is found.network
