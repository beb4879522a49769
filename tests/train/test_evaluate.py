# SPDX-License-Identifier: Apache-2.0
"""The vote of several clips, against the published rule written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from spikefold.train import evaluate
from spikefold.train.clips import Windows
from spikefold.train.evaluate import judged, told_right
from spikefold.train.events import EVENT_DTYPE, Recording
from spikefold.train.frames import Binning
from spikefold.train.models import SpikingNet
from tests.train.training_cases import CONFIG

COUNTS = st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(2, 4)).flatmap(
    lambda shape: arrays.arrays(np.int64, shape, elements=st.integers(0, 3))
)


@settings(derandomize=True)
@given(COUNTS, st.integers(0, 99))
def test_a_majority_is_more_than_half_of_the_clips(counts: np.ndarray, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, counts.shape[2], len(counts))
    expected = []
    for clips, label in zip(counts, labels, strict=True):
        right = sum(int(max(range(len(clip)), key=lambda c, clip=clip: clip[c])) == label for clip in clips)
        expected.append(right / len(clips) > 0.5)
    assert told_right(counts, labels, "majority").tolist() == expected


def test_a_tie_is_wrong_and_rates_decide_by_the_sum() -> None:
    counts = np.array([[[9, 0], [0, 1]], [[0, 9], [1, 0]], [[2, 1], [2, 1]]])
    labels = np.zeros(3, np.int64)
    assert told_right(counts, labels, "majority").tolist() == [False, False, True]
    assert told_right(counts, labels, "rates").tolist() == [True, False, True]


@pytest.mark.parametrize("vote", ["majority", "rates"])
def test_the_share_of_recordings_is_counted_whatever_the_batch(vote: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, recordings = np.random.default_rng(0), []
    for label in range(10):
        events = np.zeros(300, EVENT_DTYPE)
        events["t"] = np.sort(rng.integers(0, 9000, 300))
        events["x"], events["y"] = rng.integers(0, 8, 300), rng.integers(0, 6, 300)
        recordings.append(Recording(events, (6, 8), label % 2))
    windows = Windows(recordings, Binning((6, 8), 1, 1000, 3), 3)
    model = SpikingNet(CONFIG.model.model_copy(update={"threshold": 0.1}), (2, 6, 8), 3, 2)
    counts = evaluate.evaluate(model, windows.frames(range(10)))
    assert counts.any()
    expected = told_right(counts.reshape(10, 3, 2), windows.labels, vote).mean()
    assert 0 < expected < 1
    for batch in (1, 7, 100):
        monkeypatch.setattr(evaluate, "_BATCH", batch)
        assert judged(model, windows, vote) == expected
