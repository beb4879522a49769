# SPDX-License-Identifier: Apache-2.0
"""Differences between runs: signs, what pairing is worth, published intervals of shares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.energy.statistics.clips import NetworkClips
from spikefold.energy.statistics.difference import accuracy_difference, compare, difference
from spikefold.errors import DataError
from spikefold.hardware.simulators.accuracy import Accuracy

RNG = np.random.default_rng(0)
BUSY = RNG.lognormal(8, 0.5, 60).astype(np.int64)


def test_the_difference_is_the_second_minus_the_first() -> None:
    found = difference(np.array([10, 20, 30]), np.array([8, 20, 26]), paired=True)
    assert (found.means, found.difference, found.relative) == ((20, 18), -2, -0.1)
    assert (found.lower, found.higher) == (2, 0)
    assert found.interval is not None
    assert found.interval[0] <= -2 <= found.interval[1]
    back = difference(np.array([8, 20, 26]), np.array([10, 20, 30]), paired=True)
    assert (back.difference, back.lower, back.higher) == (2, 0, 2)


def test_pairs_tell_apart_what_two_samples_cannot() -> None:
    less = (BUSY * 0.97).astype(np.int64) + RNG.integers(-5, 6, 60)
    pairs, samples = (difference(BUSY, less, paired=paired) for paired in (True, False))
    assert pairs.difference == samples.difference < 0
    assert pairs.interval is not None
    assert samples.interval is not None
    assert pairs.interval[1] < 0 < samples.interval[1]
    assert (samples.interval[1] - samples.interval[0]) > 10 * (pairs.interval[1] - pairs.interval[0])
    assert pairs.relative_interval is not None
    assert -0.04 < pairs.relative_interval[0] < -0.03 < pairs.relative_interval[1] < -0.02
    assert samples.lower is samples.higher is None


def test_a_paired_interval_is_that_of_the_differences() -> None:
    """Against a plain percentile bootstrap written out here; BCa moves its ends a little."""
    less = (BUSY * 0.8).astype(np.int64)
    found = difference(BUSY, less, paired=True).interval
    drawn = (less - BUSY)[np.random.default_rng(9).integers(0, 60, (4000, 60))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert found == pytest.approx((low, high), abs=0.15 * (high - low))


def test_equal_clips_differ_by_nothing_and_a_constant_difference_is_sure() -> None:
    same = difference(BUSY, BUSY, paired=True)
    assert (same.difference, same.interval, same.relative_interval, same.lower) == (0, (0, 0), (0, 0), 0)
    shifted = difference(BUSY, BUSY + 5, paired=True)
    assert (shifted.interval, shifted.higher) == ((5, 5), 60)
    scaled = difference(BUSY.astype(float), 0.3 * BUSY, paired=True)
    assert scaled.relative_interval == pytest.approx((-0.7, -0.7), rel=1e-9)


def test_no_ratio_to_nothing_and_no_interval_of_one_clip() -> None:
    found = difference(np.array([0, 4]), np.array([1, 5]), paired=True)
    assert (found.relative, found.relative_interval) == (0.5, None)
    assert difference(np.array([0, 0]), np.array([1, 5]), paired=True).relative is None
    assert difference(np.array([4]), np.array([5]), paired=True).interval is None


def test_unequal_numbers_of_clips_are_no_pairs() -> None:
    with pytest.raises(DataError, match="3 and 2 clips"):
        difference(np.ones(3), np.ones(2), paired=True)
    with pytest.raises(DataError, match="3 and 2 clips"):
        accuracy_difference(np.ones(3, bool), np.ones(2, bool), paired=True)
    assert difference(np.array([1, 2, 3]), np.array([1, 2]), paired=False).clips == (3, 2)


def _right(share: int, of: int) -> np.ndarray:
    return np.arange(of) < share


def test_newcombes_own_example_of_two_samples() -> None:
    """56 of 70 against 48 of 80: 0.0524 to 0.3339 (Statistics in Medicine 17, 1998, p. 873, table II, method 10)."""
    found = accuracy_difference(_right(48, 80), _right(56, 70), paired=False)
    assert found.difference == pytest.approx(0.2, abs=1e-12)
    assert found.interval == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert (found.gained, found.lost, found.p_value) == (None, None, None)


def test_paired_accuracy_counts_what_was_gained_and_lost() -> None:
    first, second = _right(90, 100), _right(94, 100)
    second[:2] = False
    found = accuracy_difference(first, second, paired=True)
    assert (found.right, found.gained, found.lost) == ((90, 92), 4, 2)
    assert found.p_value == pytest.approx(2 * (1 + 6 + 15) / 64)  # exact, six discordant clips
    low, high = found.interval
    assert low < 0 < 0.02 < high
    apart = accuracy_difference(first, second, paired=False).interval
    assert high - low < 0.75 * (apart[1] - apart[0])


def test_newcombes_correlation_is_corrected_for_continuity() -> None:
    """8 right in both, 2 and 2 in one, 8 in none: phi = (8*8 - 2*2 - 20/2) / 100 = 1/2, so the ends are Wilson's."""
    first, second = np.arange(20) < 10, np.roll(np.arange(20) < 10, 2)
    found = accuracy_difference(first, second, paired=True)
    assert (found.gained, found.lost, found.difference) == (2, 2, 0)
    reach = Accuracy(10, 20).interval[1] - 0.5
    assert found.interval == pytest.approx((-reach, reach), rel=1e-12)


def test_runs_that_agree_on_every_clip_are_still_not_proven_equal() -> None:
    found = accuracy_difference(_right(100, 100), _right(100, 100), paired=True)
    assert (found.difference, found.gained, found.lost, found.p_value) == (0, 0, 0, 1)
    assert found.interval[0] < -0.02 < 0.02 < found.interval[1]


def test_paired_intervals_hold_the_true_difference_about_as_often_as_they_say() -> None:
    held = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        hard = rng.random(80)  # the same clip is hard for both
        first, second = (hard + 0.3 * rng.random(80) < limit for limit in (0.9, 1.0))
        interval = accuracy_difference(first, second, paired=True).interval
        # P(u + 0.3 v < limit) is limit - 0.15 for uniform u and v, up to 1
        held += interval[0] <= 0.1 <= interval[1]
    assert 0.92 <= held / 400 <= 0.99


@settings(max_examples=60, derandomize=True)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30), st.booleans())
def test_swapping_the_runs_turns_the_interval_round(pairs: list[tuple[bool, bool]], paired: bool) -> None:
    first, second = np.array(pairs).T
    one, two = (accuracy_difference(x, y, paired=paired) for x, y in ((first, second), (second, first)))
    assert one.difference == -two.difference
    assert one.interval == pytest.approx((-two.interval[1], -two.interval[0]), abs=1e-12)
    assert -1 - 1e-9 <= one.interval[0] <= one.difference <= one.interval[1] <= 1 + 1e-9


def _clips(scale: int, names: tuple[str, ...] = ("conv", "fc"), energy: bool = True) -> NetworkClips:
    events = np.random.default_rng(5).integers(1, 50, (2, 3, 8)) * scale
    return NetworkClips(
        names, events, events // scale, _right(6, 8), events.sum(axis=(0, 1)) * 0.9 if energy else None
    )


def test_two_networks_are_compared_in_everything() -> None:
    found = compare(_clips(2), _clips(1), paired=True)
    assert found["synops"]["relative"] == found["energy_pj"]["relative"] == pytest.approx(-0.5)
    assert found["spikes"]["difference"] == found["accuracy"]["difference"] == 0
    assert list(found["layers"]) == ["conv", "fc"]
    parts = [layer["synops"]["difference"] for layer in found["layers"].values()]
    assert sum(parts) == pytest.approx(found["synops"]["difference"], rel=1e-12)
    assert found["synops"]["difference"] == -_clips(1).events.sum() / 8 < -50


def test_what_only_one_side_has_is_left_out() -> None:
    found = compare(_clips(2), _clips(1, ("conv", "head"), energy=False), paired=False)
    assert (found["layers"], found["energy_pj"]) == ({}, None)
    assert found["synops"]["paired"] is False
