# SPDX-License-Identifier: Apache-2.0
"""Accuracy with its interval, against published values of Wilson's score interval."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from spikefold.hardware.simulators.accuracy import Accuracy, accuracy, predictions


def test_the_class_with_most_spikes_wins_and_of_equals_the_lowest() -> None:
    counts = np.array([[1, 5, 2], [3, 3, 1], [0, 0, 0], [0, 2, 2]])
    assert predictions(counts).tolist() == [1, 0, 0, 1]
    assert accuracy(counts, np.array([1, 0, 2, 1])) == Accuracy(3, 4)


@pytest.mark.parametrize(("right", "clips"), [(0, 10), (10, 10), (94, 100), (106, 110), (1, 3)])
def test_the_interval_is_wilsons(right: int, clips: int) -> None:
    expected = binomtest(right, clips).proportion_ci(0.95, method="wilson")
    assert Accuracy(right, clips).interval == pytest.approx((expected.low, expected.high), abs=1e-12)
