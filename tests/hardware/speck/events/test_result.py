# SPDX-License-Identifier: Apache-2.0
"""The load of each core over time, and which are above a user's limit."""

from __future__ import annotations

import numpy as np

from spikefold.hardware.speck.events.result import EventRun, Overload
from spikefold.hardware.speck.events.simulate import simulate
from tests.hardware.speck.events.event_cases import rows, two_cores


def run() -> EventRun:
    """Two operations for each event of core 1; each spike of it one of core 2: loads 2n and 2n for n events."""
    return simulate(
        two_cores([1, 1], steps=4), np.concatenate([rows([1], [3], [0], [3]), rows([0], [1], [4], [2])], 1)
    )


def test_loads_and_peaks() -> None:
    loads = run().loads
    assert [load.name for load in loads] == ["w", "d"]
    assert loads[0].operations.tolist() == loads[1].operations.tolist() == [[2, 0], [6, 2], [0, 8], [6, 4]]
    assert loads[0].peak_per_second(1000) == 8000.0
    assert loads[0].peak_per_second(500) == 16000.0


def test_cores_above_a_limit_are_named_with_their_busiest_bin() -> None:
    """In bins of 1 ms, 6 operations are 6000 a second: a bin at the limit is not above it."""
    assert run().over_limit(5999.0, 1000) == (Overload("w", 8000.0, 2, 1, 3), Overload("d", 8000.0, 2, 1, 3))
    assert run().over_limit(6000.0, 1000) == (Overload("w", 8000.0, 2, 1, 1), Overload("d", 8000.0, 2, 1, 1))
    assert run().over_limit(8000.0, 1000) == ()
    assert [found.bins for found in run().over_limit(8000.0, 500)] == [3, 3]


def test_the_earliest_of_equal_peaks_is_named() -> None:
    (found, _) = simulate(two_cores([1, 1], steps=3), rows([1], [2], [2])).over_limit(1.0, 1000)
    assert (found.step, found.clip, found.bins) == (1, 0, 3)
