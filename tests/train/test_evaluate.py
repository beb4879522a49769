# SPDX-License-Identifier: Apache-2.0
"""The vote of several clips, against the published rule written out; and what a clip's result depends on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from spikefold.config import Config, DataConfig, ModelConfig, TrainConfig
from spikefold.errors import SpikefoldError
from spikefold.event_dtype import EVENT_DTYPE
from spikefold.hardware.simulators.accuracy import predictions
from spikefold.train import evaluate
from spikefold.train.analysis.measure import analyse
from spikefold.train.data.clips import Windows
from spikefold.train.data.events import Recording
from spikefold.train.data.frames import Binning
from spikefold.train.deploy.gates import attention_layers, calibrate, static
from spikefold.train.deploy.tracing import trace_model
from spikefold.train.evaluate import class_logits, clips_at_once, is_correct, judged
from spikefold.train.models.spiking_net import SpikingNet
from spikefold.train.processes.parallel import Ranks
from tests.train.training_cases import CONFIG, halves

COUNTS = st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(2, 4)).flatmap(
    lambda shape: arrays.arrays(np.int64, shape, elements=st.integers(0, 3))
)


@settings(derandomize=True)
@given(COUNTS, st.integers(0, 99))
def test_a_majority_is_more_than_half_of_the_clips(counts: np.ndarray, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, counts.shape[2], len(counts))
    expected = []
    for number, clips, label in zip(range(0, counts[..., 0].size, counts.shape[1]), counts, labels, strict=True):
        right = sum(predictions(clip[None], np.array([number + k]))[0] == label for k, clip in enumerate(clips))
        expected.append(right / len(clips) > 0.5)
    assert is_correct(counts, labels, "majority").tolist() == expected


def test_a_tie_is_wrong_and_rates_decide_by_the_sum() -> None:
    counts = np.array([[[9, 0], [0, 1]], [[0, 9], [1, 0]], [[2, 1], [2, 1]]])
    labels = np.zeros(3, np.int64)
    assert is_correct(counts, labels, "majority").tolist() == [False, False, True]
    assert is_correct(counts, labels, "rates").tolist() == [True, False, True]


def _windows() -> Windows:
    """Three clips of each of ten recordings."""
    rng, recordings = np.random.default_rng(0), []
    for label in range(10):
        events = np.zeros(300, EVENT_DTYPE)
        events["t"] = np.sort(rng.integers(0, 9000, 300))
        events["x"], events["y"] = rng.integers(0, 8, 300), rng.integers(0, 6, 300)
        recordings.append(Recording(events, (6, 8), label % 2))
    return Windows(recordings, Binning((6, 8), 1, 1000, 3), 3)


def _model(**options: object) -> SpikingNet:
    torch.manual_seed(0)
    config = CONFIG.model.model_copy(update={"threshold": 0.1, "channels": (4, 6), "strides": (2, 1)} | options)
    return SpikingNet(config, (2, 6, 8), 3, 2).eval()


@pytest.mark.parametrize("vote", ["majority", "rates"])
def test_the_share_of_recordings_is_counted_whatever_the_batch(vote: str, monkeypatch: pytest.MonkeyPatch) -> None:
    windows, model = _windows(), _model()
    counts = evaluate.evaluate(model, windows.frames(range(10)))
    assert counts.any()
    expected = is_correct(counts.reshape(10, 3, 2), windows.labels, vote).mean()
    assert 0 < expected < 1
    for batch in (1, 7, 100):
        monkeypatch.setattr(evaluate, "_BATCH", batch)
        assert judged(model, windows, vote) == expected
    assert {judged(model, windows, vote, batch=batch) for batch in (1, 3, 7, 100)} == {expected}


@pytest.mark.parametrize("attention", ["none", "asa1", "asa2", "sa", "tcsa"])
def test_a_clip_is_told_alike_in_any_batch(attention: str) -> None:
    model, frames = _model(attention=attention, threshold=0.03), halves(23, seed=1).frames
    expected = np.concatenate([evaluate.evaluate(model, frames[:, n : n + 1]) for n in range(23)])
    assert len(np.unique(expected)) > 3
    for batch in (2, 7, 23, None):
        assert np.array_equal(evaluate.evaluate(model, frames, batch), expected)
        logits = class_logits(model, frames, CONFIG.train, batch)
        assert np.allclose(logits, expected / 6 * CONFIG.train.gain, atol=1e-5)  # 3 steps, 2 voters
    assert np.array_equal(evaluate.evaluate(model, frames[:, ::-1]), expected[::-1])


Asked = Callable[[SpikingNet, int | None], object]
BY_BATCH: dict[str, Asked] = {
    "evaluate": lambda model, batch: evaluate.evaluate(model, halves(23, seed=1).frames, batch),
    "class_logits": lambda model, batch: class_logits(model, halves(23, seed=1).frames, CONFIG.train, batch),
    "judged": lambda model, batch: judged(model, _windows(), "rates", batch=batch),
    "trace_model": lambda model, batch: trace_model(model, halves(23, seed=1).frames, batch),
    "analyse": lambda model, batch: analyse(model, halves(23, seed=1).frames, batch=batch),
}


@pytest.mark.parametrize("name", BY_BATCH)
def test_where_a_batch_shares_its_masks_the_batch_must_be_named(name: str) -> None:
    model = _model(asa_mode="batch")
    with pytest.raises(SpikefoldError, match="share their masks"):
        BY_BATCH[name](model, None)
    BY_BATCH[name](model, 6)
    with static(model, {layer: np.full(m.channels, 0.5) for layer, m in attention_layers(model).items()}):
        BY_BATCH[name](model, None)
    BY_BATCH[name](_model(asa_mode="batch", attention="sa"), None)


def test_gates_that_a_batch_shares_are_calibrated_in_batches_that_are_named() -> None:
    model, frames = _model(asa_mode="batch"), halves(23, seed=1).frames
    with pytest.raises(SpikefoldError, match="share their masks"):
        calibrate(model, frames)
    assert set(calibrate(model, frames, 6)) == set(attention_layers(model))


def test_the_masks_are_those_of_the_batch_that_is_named() -> None:
    model, frames = _model(asa_mode="batch"), halves(23, seed=1).frames
    found = {batch: evaluate.evaluate(model, frames, batch) for batch in (1, 4, 23)}
    by_hand = [evaluate.evaluate(model, frames[:, start : start + 4], 4) for start in range(0, 23, 4)]
    assert np.array_equal(found[4], np.concatenate(by_hand))
    assert found[4].any()
    assert not np.array_equal(found[4], found[1])
    assert not np.array_equal(found[4], found[23])
    assert np.array_equal(found[1], evaluate.evaluate(_model(), frames)), "a batch of one is a clip by itself"


def test_recordings_are_judged_in_batches_of_whole_recordings() -> None:
    windows, model = _windows(), _model(asa_mode="batch")
    seen: list[int] = []
    model.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[1]))
    share = judged(model, windows, "rates", batch=12)
    assert seen == [12, 12, 6]
    counts = evaluate.evaluate(model, windows.frames(range(10)), 12).reshape(10, 3, 2)
    assert counts.any()
    assert share == is_correct(counts, windows.labels, "rates").mean()


class _One(Ranks):
    """One of two ranks, without the other: its own numbers are the total."""

    def total(self, *numbers: float) -> tuple[float, ...]:
        return numbers


@pytest.mark.parametrize(
    ("mode", "batch", "expected"),
    [
        ("batch", 12, [[12, 12], [6]]),
        ("batch", 30, [[30], []]),
        ("clip", 50, [[15], [15]]),
        ("clip", 12, [[12, 12], [6]]),
    ],
)
def test_ranks_share_batches_and_cut_them_only_where_that_changes_nothing(
    mode: str, batch: int, expected: list[list[int]]
) -> None:
    windows, model = _windows(), _model(asa_mode=mode)
    alone, shares = judged(model, windows, "rates", batch=batch), []
    seen: list[list[int]] = [[], []]
    for rank in range(2):
        hook = model.register_forward_hook(lambda _, x, y, rank=rank: seen[rank].append(x[0].shape[1]))
        shares.append(judged(model, windows, "rates", _One(rank, 2), batch))
        hook.remove()
    assert seen == expected
    assert sum(shares) == pytest.approx(alone, rel=1e-12)
    assert alone > 0


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({}, 50),
        ({"asa_mode": "batch"}, 40),
        ({"asa_mode": "batch", "attention": "asa2"}, 40),
        ({"asa_mode": "batch", "attention": "tcsa"}, 50),
        ({"asa_mode": "batch", "attention": "none"}, 50),
    ],
)
def test_the_published_batch_is_four_recordings_of_ten_clips(model: dict[str, str], expected: int) -> None:
    config = Config(data=DataConfig(clips=10), model=ModelConfig(**model))
    assert clips_at_once(config) == expected
    more = config.model_copy(update={"train": TrainConfig(test_batch=8)})
    assert clips_at_once(more) == (80 if expected == 40 else 50)
