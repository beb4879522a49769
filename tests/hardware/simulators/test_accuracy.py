# SPDX-License-Identifier: Apache-2.0
"""Accuracy with its interval, against published values of Wilson's score interval."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from spikefold.hardware.simulators.accuracy import Accuracy, accuracy, predictions, ties


def test_the_class_with_most_spikes_is_named_and_ties_are_counted() -> None:
    counts = np.array([[1, 5, 2], [3, 3, 1], [0, 0, 0], [0, 2, 2], [7, 0, 0]])
    found = predictions(counts)
    assert found[[0, 4]].tolist() == [1, 0]
    assert all(counts[clip, named] == counts[clip].max() for clip, named in enumerate(found))
    assert accuracy(counts, np.array([1, 2, 9, 0, 0])) == Accuracy(2, 5, ties=3)
    assert accuracy(counts, found) == Accuracy(5, 5, ties=3)
    assert ties(counts[[0, 4]]) == 0


@pytest.mark.parametrize("tied", [(0, 1), (0, 9), (3, 4, 8), tuple(range(10))])
def test_no_class_is_favoured_among_those_that_tie(tied: tuple[int, ...]) -> None:
    """Over 30,000 clips each tied class is named as often as the others, but for five standard deviations."""
    counts = np.zeros((30_000, 10), np.int64)
    counts[:, tied] = 4
    named = np.bincount(predictions(counts), minlength=10)
    share = 1 / len(tied)
    assert set(np.flatnonzero(named)) == set(tied)
    assert np.abs(named[list(tied)] / 30_000 - share).max() < 5 * (share * (1 - share) / 30_000) ** 0.5


def test_a_tie_is_decided_by_the_clip_alone() -> None:
    """Alike whatever the other counts and the batch are, and by neighbouring clips not alike."""
    counts = np.random.default_rng(0).integers(0, 3, (1000, 4))
    whole = predictions(counts)
    for size in (1, 7, 400):
        starts = range(0, 1000, size)
        parts = [predictions(counts[at : at + size], np.arange(at, min(1000, at + size))) for at in starts]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(predictions(counts * 3 + 1), whole)
    np.testing.assert_array_equal(predictions(counts.reshape(10, 100, 4)).ravel(), whole)
    assert ties(counts) > 300
    assert len(set(predictions(np.ones((20, 4))).tolist())) > 1


@pytest.mark.parametrize(("right", "clips"), [(0, 10), (10, 10), (94, 100), (106, 110), (1, 3)])
def test_the_interval_is_wilsons(right: int, clips: int) -> None:
    expected = binomtest(right, clips).proportion_ci(0.95, method="wilson")
    assert Accuracy(right, clips).interval == pytest.approx((expected.low, expected.high), abs=1e-12)
