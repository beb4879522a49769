# SPDX-License-Identifier: Apache-2.0
"""Which clips stand for a whole set: of as many classes as their number allows, whatever order they lie in."""

from __future__ import annotations

import numpy as np
import pytest

from spikefold.train.data.clips import over_classes


@pytest.mark.parametrize("order", ["class by class", "mixed"])
@pytest.mark.parametrize("count", [1, 5, 11, 20, 33, 100])
def test_the_first_clips_are_of_as_many_classes_as_they_can_be(order: str, count: int) -> None:
    labels = np.repeat(np.arange(11), 3)
    if order == "mixed":
        labels = np.random.default_rng(0).permutation(labels)
    chosen = over_classes(labels, count)
    assert len(chosen) == len(set(chosen.tolist())) == min(count, 33)
    for few in range(1, len(chosen) + 1):
        assert len(set(labels[chosen[:few]].tolist())) == min(few, 11)
    assert np.bincount(labels[chosen], minlength=11).max() - np.bincount(labels[chosen], minlength=11).min() <= 1


def test_a_class_with_few_clips_gives_what_it_has() -> None:
    labels = np.array([0, 0, 0, 0, 1, 2, 2])
    assert labels[over_classes(labels, 6)].tolist() == [0, 1, 2, 0, 2, 0]
