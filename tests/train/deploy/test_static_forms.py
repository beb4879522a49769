# SPDX-License-Identifier: Apache-2.0
"""The form with the least loss among those a target carries is chosen, and a poor one is refused with its numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from spikefold.config import ModelConfig
from spikefold.errors import SpikefoldError, UnsupportedError
from spikefold.train.data.clips import ClipSet
from spikefold.train.deploy.gates import FORMS, GateStatistics, calibrate, static
from spikefold.train.deploy.static_forms import Candidate, Measured, choose, factors, measure, refuse_poor
from spikefold.train.evaluate import evaluate
from spikefold.train.models.spiking_net import SpikingNet


def _net(sharpness: float, **options: Any) -> SpikingNet:
    """Two convolutions and the output, lively, with gates that are far from constant."""
    torch.manual_seed(1)
    net = SpikingNet(ModelConfig(channels=(4, 6), strides=(1, 2), voters=2, **options), (2, 10, 8), 5, 3)
    module: Any
    for name, module in net.layers.named_children():
        if name.startswith("bn"):
            module.bias.data += 0.7
        if name.startswith("asa"):
            module.important.weight.data *= sharpness
    last: Any = net.layers.fc
    last.weight.data = 0.4 * torch.randn_like(last.weight)
    return net.eval()


@pytest.fixture(scope="module")
def model() -> SpikingNet:
    return _net(4)


@pytest.fixture(scope="module")
def clips(model: SpikingNet) -> ClipSet:
    frames = np.random.default_rng(0).poisson(0.8, (5, 24, 2, 10, 8)).astype(np.uint16)
    # the dynamic network is always right: what a form loses is visible
    return ClipSet(frames, evaluate(model, frames).argmax(1))


@pytest.fixture(scope="module")
def statistics(model: SpikingNet, clips: ClipSet) -> dict[str, GateStatistics]:
    return calibrate(model, clips.frames)


def test_every_form_is_measured_against_the_dynamic_network(
    model: SpikingNet, clips: ClipSet, statistics: dict[str, GateStatistics]
) -> None:
    found = measure(model, statistics, clips, gain=20.0)
    assert found.dynamic_accuracy == 1
    assert [c.form for c in found.candidates] == list(FORMS)
    dynamic = evaluate(model, clips.frames) / (5 * 2) * 20.0
    for candidate in found.candidates:
        with static(model, factors(statistics, candidate.form)):
            counts = evaluate(model, clips.frames)
        p, q = (np.exp(z) / np.exp(z).sum(1, keepdims=True) for z in (dynamic, counts / (5 * 2) * 20.0))
        assert candidate.loss == pytest.approx((p * np.log(p / q)).sum(1).mean(), rel=1e-6)
        assert candidate.loss > 0
        assert candidate.accuracy == candidate.agreement == (counts.argmax(1) == clips.labels).mean()
        assert candidate.output_spikes == counts.sum() / 24


def _measured(**losses: float) -> Measured:
    return Measured(0.9, 50, tuple(Candidate(form, loss, 0.9 - loss, 0.9, 10.0) for form, loss in losses.items()))


def test_the_least_loss_among_the_allowed_wins_and_equals_go_to_the_coarser() -> None:
    found = _measured(mask=0.5, channel=0.2, rank1=0.1, neuron=0.1)
    assert choose(found, FORMS).form == "rank1"
    assert choose(found, ("mask", "channel")).form == "channel"
    assert choose(found, ("mask",)).form == "mask"
    said = choose(found, ("mask", "channel")).why
    assert "50 calibration clips" in said
    assert "mask 0.5000, channel 0.2000" in said
    assert "rank1" not in said
    assert choose(Measured(0.9, 50, ()), FORMS).form == "none"


def test_a_poor_form_is_refused_with_the_loss_of_each_layer(
    model: SpikingNet, clips: ClipSet, statistics: dict[str, GateStatistics]
) -> None:
    # a mask of ones lets everything through: far from the dynamic gates
    choice = choose(measure(model, statistics, clips, gain=20.0), ("mask",))
    lost = 1 - choice.candidates[0].accuracy
    assert lost > 0
    with pytest.raises(UnsupportedError, match="no static form") as caught:
        refuse_poor(choice, model, statistics, clips, tolerance=lost - 0.01, accepted=("asa1",))
    assert [issue.where for issue in caught.value.issues] == ["asa2"]
    assert "1.000 -> " in caught.value.issues[0].got
    assert "gates.accept=['asa1', 'asa2']" in str(caught.value)
    refuse_poor(choice, model, statistics, clips, tolerance=lost, accepted=())
    refuse_poor(choice, model, statistics, clips, tolerance=0.0, accepted=("asa1", "asa2"))


def test_clips_that_share_masks_are_measured_in_the_batches_of_every_evaluation() -> None:
    net = _net(9, asa_mode="batch")
    frames = np.random.default_rng(0).poisson(0.8, (5, 12, 2, 10, 8)).astype(np.uint16)
    two, all_at_once = (evaluate(net, frames, batch) for batch in (2, 12))
    assert (two != all_at_once).any()
    assert two.sum() > 40
    clips = ClipSet(frames, two.argmax(1))
    statistics = calibrate(net, frames, 2)
    assert measure(net, statistics, clips, 20.0, 2).dynamic_accuracy == 1
    dynamic = two / (5 * 2) * 20.0
    with static(net, factors(statistics, "channel")):
        counts = evaluate(net, frames)
    p, q = (np.exp(z) / np.exp(z).sum(1, keepdims=True) for z in (dynamic, counts / (5 * 2) * 20.0))
    found = {c.form: c.loss for c in measure(net, statistics, clips, 20.0, 2).candidates}
    assert found["channel"] == pytest.approx((p * np.log(p / q)).sum(1).mean(), rel=1e-6)
    with pytest.raises(SpikefoldError, match="share their masks"):
        measure(net, statistics, clips, 20.0)


def test_agreement_is_with_the_dynamic_network_and_not_with_labels(
    model: SpikingNet, clips: ClipSet, statistics: dict[str, GateStatistics]
) -> None:
    wrong = ClipSet(clips.frames, (clips.labels + 1) % (clips.labels.max() + 1))
    for right, mislabelled in zip(
        measure(model, statistics, clips, gain=20.0).candidates,
        measure(model, statistics, wrong, gain=20.0).candidates,
        strict=True,
    ):
        assert right.agreement == mislabelled.agreement > 0
        assert right.accuracy != mislabelled.accuracy
