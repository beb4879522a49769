# SPDX-License-Identifier: Apache-2.0
"""Adaptation by events learns, chooses on recordings it did not train on, and leaves what is good already."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from spikefold.config import AdaptConfig, TrainConfig
from spikefold.energy.counts.count import count
from spikefold.export.io import identity
from spikefold.export.network import Layer, Network, SpikingLayer
from spikefold.export.neuron import Reset
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.speck.chip import NUMBERS
from spikefold.train.data.clips import ClipSet
from spikefold.train.deploy.adapt import Adapted
from spikefold.train.deploy.adapt_by_events import (
    EventTask,
    adapt_by_events,
    relative_fans,
    scaled,
    weighted_spikes,
)
from spikefold.train.deploy.by_events import EventNet
from spikefold.train.deploy.selection import Candidate, Selection, best, standard_error
from spikefold.train.deploy.trial import ByEvents, tried
from spikefold.train.state import Epoch
from tests.train.deploy.event_recordings import engine, network, neuron, recordings

SETTINGS = AdaptConfig(by="events", event_epochs=6, event_lr=0.02)


def _trial(count: int, seed: int) -> ByEvents:
    clips, labels = recordings(count, seed)
    return ByEvents(engine(), tuple(clips), labels)


def _task(settings: AdaptConfig = SETTINGS, count: int = 48, seed: int = 0) -> EventTask:
    clips, labels = recordings(count, seed)
    frames = ClipSet(engine().frames(clips), labels)
    return EventTask(NUMBERS, engine(), tuple(clips), frames, settings, TrainConfig(batch=10), 0, _trial(12, 7))


def _adapt(real: Network, task: EventTask) -> tuple[Adapted, list[Epoch]]:
    told: list[Epoch] = []
    return adapt_by_events(real, task, told.append), told


@pytest.fixture(scope="module")
def adapted() -> tuple[Adapted, list[Epoch]]:
    return _adapt(network(bias=True), _task())


def test_a_network_that_knows_nothing_learns(adapted: tuple[Adapted, list[Epoch]]) -> None:
    found, told = adapted
    fresh = _trial(60, 1)
    before = tried("before", network(bias=True), NUMBERS, fresh)
    after = tried("after", found.network, NUMBERS, fresh)
    assert before.accuracy < 0.6
    assert after.accuracy > 0.9
    assert after.spikes > 10
    assert tuple(told) == found.epochs
    assert [epoch.number for epoch in told] == [1, 2, 3, 4, 5, 6]
    assert told[-1].loss < 0.8 * told[0].loss


def test_the_record_says_what_was_tried_and_kept(adapted: tuple[Adapted, list[Epoch]]) -> None:
    found, told = adapted
    selection = found.selection
    assert selection is not None
    assert (selection.held, selection.how) == (12, "by events")
    assert [one.name for one in selection.candidates] == ["before", "epoch 4", "epoch 5", "epoch 6"]
    assert [epoch.judged for epoch in told] == [None] * 3 + [one.accuracy for one in selection.candidates[1:]]
    assert selection.kept.name != "before"
    assert identity(selection.kept.network) == identity(found.network) != identity(network(bias=True))
    plain = found.to_json()["selection"]
    assert plain == selection.to_json()
    assert len(selection.to_json()["candidates"]) == 4  # type: ignore[arg-type]


def test_what_is_not_bettered_is_the_very_network_from_before(adapted: tuple[Adapted, list[Epoch]]) -> None:
    good = adapted[0].network
    spoilt, told = _adapt(good, _task(SETTINGS.model_copy(update={"event_lr": 5.0, "event_epochs": 2})))
    assert spoilt.selection is not None
    assert spoilt.selection.candidates[0].accuracy > 0.9
    assert all(one.accuracy < 0.8 for one in spoilt.selection.candidates[1:])
    assert spoilt.selection.kept.name == "before"
    assert spoilt.network is good
    assert [(one.number, one.of) for one in told] == [(1, 2), (2, 2), (3, 4), (4, 4)]  # a second round


def test_equal_inputs_give_equal_weights() -> None:
    task = _task(SETTINGS.model_copy(update={"event_epochs": 1}), count=30)
    one, two = (_adapt(network(), task)[0].selection for _ in range(2))
    assert one is not None
    assert two is not None
    assert [identity(c.network) for c in one.candidates] == [identity(c.network) for c in two.candidates]
    assert len({identity(c.network) for c in one.candidates}) == 2


def test_hidden_spikes_are_held_down_to_the_limit() -> None:
    def hidden(limit: float) -> float:
        task = _task(SETTINGS.model_copy(update={"spike_limit": limit, "event_epochs": 3}))
        found, _ = _adapt(network(pooled=True), replace(task, trial=None))
        clips = recordings(12, 7)[0]
        integer = quantise(found.network, NUMBERS)[0]
        return engine().spikes(integer, clips, engine().frames(clips)).layers["n"].spikes / 12

    free, held, tight = (hidden(limit) for limit in (0.0, 0.5, 0.2))
    assert tight > 5
    assert tight < 0.8 * held < 0.8 * 0.8 * free


@pytest.mark.parametrize(
    ("given", "epochs"), [({}, 20), ({"epochs": 3}, 8), ({"epochs": 1}, 2), ({"epochs": 2, "event_epochs": 5}, 5)]
)
def test_epochs_by_events_follow_those_in_steps_unless_they_are_given(given: dict[str, int], epochs: int) -> None:
    assert AdaptConfig.model_validate(given).epochs_by_events == epochs
    assert AdaptConfig.model_validate({**given, "epochs": 0}).epochs_by_events == 0


def test_no_epochs_change_nothing() -> None:
    real = network(bias=True)
    unchanged, told = _adapt(real, _task(SETTINGS.model_copy(update={"epochs": 0})))
    assert unchanged.network is real
    assert unchanged.selection is None
    assert told == []


def test_without_recordings_held_out_the_last_epoch_is_kept() -> None:
    task = replace(_task(SETTINGS.model_copy(update={"event_epochs": 1}), count=30), trial=None)
    found, told = _adapt(network(), task)
    assert found.selection is None
    assert [epoch.judged for epoch in told] == [None]
    assert identity(found.network) != identity(network())


def test_a_budget_is_met_by_events() -> None:
    real = network(bias=True)
    free = tried("free", real, NUMBERS, _trial(12, 7))
    budget = 0.6 * free.synops
    settings = SETTINGS.model_copy(update={"synops_budget": budget})
    found, _ = _adapt(real, _task(settings))
    assert found.channels["n"][0] < found.channels["n"][1] == 4
    assert found.synops_before is not None
    assert found.synops_before > budget
    assert found.selection is not None
    assert [one.name for one in found.selection.candidates] == ["epoch 4", "epoch 5", "epoch 6"]
    assert 0 < found.selection.kept.synops <= budget == found.selection.budget
    # the operations of a candidate are those that the project's own counter finds
    trial = _trial(12, 7)
    integer, _ = quantise(found.network, NUMBERS)
    trace, frames = trial.run(integer, slice(None))
    counted = count(integer, frames, trace)
    assert found.selection.kept.synops == sum(layer.events for layer in counted.layers) / 12


@pytest.mark.parametrize("pooled", [False, True])
def test_the_start_fires_as_often_as_wanted_without_biases(pooled: bool) -> None:
    clips, _ = recordings(16, seed=2)
    real = network(pooled=pooled, bias=True, theta=0.7)
    quiet = replace(real, layers=tuple(_zero_reset(layer) for layer in real))
    start = scaled(quiet, NUMBERS, engine(), clips)
    for weights in start.weights:
        assert weights.op.bias is None
    for layer in start.neurons:
        assert (float(layer.neuron.threshold), layer.neuron.reset) == (1.0, Reset.SUBTRACT)
        assert layer.neuron.max_spikes is None
    recorded = engine()
    trace = recorded.spikes(quantise(start, NUMBERS)[0], clips, recorded.frames(clips))
    output = trace.layers["out"].spikes / (16 * 6)
    assert 14 < output < 15.1
    assert trace.layers["n"].spikes >= 0.2 * 16 * 64


def _zero_reset(layer: Layer) -> Layer:
    return replace(layer, op=neuron(0.7, Reset.ZERO)) if isinstance(layer, SpikingLayer) else layer


def test_spikes_are_weighted_by_the_synapses_that_they_reach() -> None:
    clips, _ = recordings(3, seed=3)
    net = EventNet(network(), NUMBERS, engine())
    activity = net(clips)
    fans = relative_fans(net.integers.network)
    assert list(fans) == ["d"]
    hidden = activity.values["n"].detach()[-3:]
    assert hidden.sum() > 50
    assert torch.allclose(weighted_spikes(net, activity, fans, 3).detach(), hidden.sum() / 3)


def test_the_last_is_taken_unless_recordings_can_tell_that_it_is_worse() -> None:
    def candidates(*values: tuple[float, float]) -> list[Candidate]:
        return [
            Candidate(f"epoch {n}" if n else "before", accuracy, spikes, 10 * spikes, network())
            for n, (accuracy, spikes) in enumerate(values)
        ]

    def chosen(*values: tuple[float, float], held: int = 100) -> str:
        return best(candidates(*values), held).name

    # 95 + 2 of 100 + 4: sqrt(.9327 * .0673 / 104)
    assert standard_error(0.95, 100) == pytest.approx(0.02457, abs=1e-5)
    assert standard_error(1.0, 100) == pytest.approx(standard_error(0.0, 100)) == pytest.approx(0.01347, abs=1e-5)
    # two standard errors of .95 are .0491 of 100 recordings, .0140 of 1000; of 1, .0269 of 100
    assert chosen((0.9, 100), (0.95, 900), (0.91, 950)) == "epoch 2"
    assert chosen((0.85, 100), (0.95, 900), (0.9, 950)) == "epoch 1"
    assert chosen((0.9, 100), (0.95, 900), (0.93, 950), held=1000) == "epoch 1"
    assert chosen((0.9, 100), (0.95, 900), (0.937, 950), held=1000) == "epoch 2"
    assert chosen((0.9, 100), (1.0, 900), (0.98, 950)) == "epoch 2"
    assert chosen((0.9, 100), (1.0, 900), (0.97, 950)) == "epoch 1"
    # no worse than before by more than .005, and not changed for nothing
    assert chosen((0.94, 100), (0.95, 900), (0.934, 50)) == "epoch 1"
    assert chosen((0.94, 100), (0.93, 50), (0.934, 50)) == "before"
    assert chosen((0.94, 100), (0.935, 50)) == "epoch 1"
    assert chosen((0.94, 100), (0.94, 100)) == "before"
    assert chosen((0.94, 100), (0.95, 900), (0.94, 900)) == "epoch 1"
    assert chosen((0.94, 100), (0.94, 99)) == "epoch 1"
    assert chosen((0.94, 100), (0.941, 900)) == "epoch 1"
    assert chosen((1.0, 100), (0.996, 50)) == "epoch 1"
    assert chosen((1.0, 100), (0.994, 50)) == "before"
    assert Selection(5, "by events", tuple(candidates((0.5, 7), (0.4, 1)))).kept.name == "before"
    assert Selection(5, "by events", tuple(candidates((0.5, 7), (0.4, 1))), budget=60).kept.name == "epoch 1"
    assert Selection(5, "by events", tuple(candidates((0.5, 7), (0.4, 5))), budget=9).kept.name == "epoch 1"
