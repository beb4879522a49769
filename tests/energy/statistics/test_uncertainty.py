# SPDX-License-Identifier: Apache-2.0
"""Spread over clips: hand-worked numbers, intervals that hold the truth as often as they say, one seed one answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from spikefold.energy.statistics.uncertainty import RESAMPLES, bootstrap, distribution, mean_interval
from spikefold.errors import DataError


def test_five_clips_by_hand() -> None:
    found = distribution(np.array([4, 1, 9, 9, 2]))
    assert (found.clips, found.mean, found.worst, found.worst_clip) == (5, 5.0, 9.0, 2)
    assert found.sd == pytest.approx(math.sqrt((1 + 16 + 16 + 16 + 9) / 4), rel=1e-12)
    assert found.p95 == 9.0
    # (1.96 * 3.808 / (0.1 * 5))^2 = 222.8
    assert found.clips_needed["10"] == 223
    assert found.clips_needed["1"] == pytest.approx(100 * 223, rel=0.01)


def test_p95_is_a_clip_that_was_seen_and_that_95_percent_do_not_exceed() -> None:
    values = np.random.default_rng(0).permutation(np.arange(1, 101)) * 1000
    found = distribution(values)
    assert found.p95 == 95_000
    assert distribution(values[:19]).p95 == values[:19].max()
    assert values[found.worst_clip] == 100_000


def test_the_mean_of_whole_numbers_is_divided_once() -> None:
    values = np.array([2**53, 2**53, 2, 2], np.int64)
    assert distribution(values).mean == (2**54 + 4) / 4


@pytest.mark.parametrize(("sigma", "clips", "least", "most"), [(0.3, 40, 0.90, 0.99), (0.8, 30, 0.84, 0.97)])
def test_intervals_hold_the_true_mean_about_as_often_as_they_say(
    sigma: float, clips: int, least: float, most: float
) -> None:
    truth, held, tries = math.exp(sigma**2 / 2), 0, 150
    for seed in range(tries):
        interval = mean_interval(np.random.default_rng(seed).lognormal(0, sigma, clips), seed)
        assert interval is not None
        held += interval[0] <= truth <= interval[1]
    assert least <= held / tries <= most


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("clips", [2, 5, 110])
def test_the_interval_is_that_of_scipy_which_leaves_clips_out_one_by_one(clips: int, paired: bool) -> None:
    rng = np.random.default_rng(clips)
    x, y = (np.floor(rng.lognormal(12, 0.8, clips)) for _ in range(2))
    found = bootstrap((x, y), lambda a, b: b / a - 1, 7, paired=paired, singles=(x, y))
    expected = stats.bootstrap(
        (x, y),
        lambda a, b, axis: b.mean(axis=axis) / a.mean(axis=axis) - 1,
        n_resamples=RESAMPLES,
        batch=2_000_000 // clips,
        vectorized=True,
        paired=paired,
        method="BCa",
        random_state=np.random.default_rng(7),
    ).confidence_interval
    assert found == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert found[0] < found[1]


def test_the_interval_is_near_the_normal_one_where_that_is_right() -> None:
    values = np.random.default_rng(1).normal(1000, 100, 400)
    interval = mean_interval(values)
    assert interval is not None
    expected = stats.norm.interval(0.95, values.mean(), values.std(ddof=1) / 20)
    assert interval == pytest.approx(expected, abs=1.0)
    assert interval[1] - interval[0] == pytest.approx(expected[1] - expected[0], rel=0.06)


def test_the_clips_needed_give_the_precision_that_was_asked_for() -> None:
    values = np.random.default_rng(2).normal(1000, 250, 4000)
    needed = distribution(values).clips_needed["5"]
    assert needed is not None
    drawn = np.random.default_rng(3).normal(1000, 250, (4000, needed)).mean(axis=1)
    assert (np.abs(drawn - 1000) <= 50).mean() == pytest.approx(0.95, abs=0.015)


def test_one_seed_one_interval_another_seed_another() -> None:
    values = np.random.default_rng(4).poisson(50, 60)
    assert mean_interval(values, 1) == mean_interval(values, 1)
    assert mean_interval(values, 1) != mean_interval(values, 2)


def test_one_clip_and_equal_clips() -> None:
    one = distribution(np.array([7]))
    assert (one.mean, one.sd, one.interval, one.p95, one.worst_clip) == (7, None, None, 7, 0)
    assert set(one.clips_needed.values()) == {None}
    equal = distribution(np.array([7, 7, 7]))
    assert (equal.sd, equal.interval) == (0, (7, 7))
    assert set(equal.clips_needed.values()) == {1}
    silent = distribution(np.zeros(4, np.int64))
    assert (silent.interval, set(silent.clips_needed.values())) == ((0, 0), {None})


@settings(max_examples=40, derandomize=True)
@given(st.lists(st.integers(0, 10**12) | st.just(0), min_size=2, max_size=12))
def test_any_counts_have_a_finite_description_that_holds_its_mean(values: list[int]) -> None:
    found = distribution(np.array(values, np.int64))
    assert found.interval is not None
    low, high = found.interval
    slack = 1e-9 * max(values)
    assert min(values) - slack <= low <= high <= max(values) + slack
    assert low - slack <= found.mean <= high + slack
    assert found.worst == max(values)
    assert values.index(max(values)) == found.worst_clip


def test_what_has_no_distribution_is_refused() -> None:
    for wrong in (np.array([]), np.ones((2, 2)), np.array([1.0, math.nan]), np.array([math.inf])):
        with pytest.raises(DataError):
            distribution(wrong)


def test_json_is_plain() -> None:
    written = distribution(np.array([4, 1, 9, 9, 2])).to_json()
    assert isinstance(written["interval"], list)
    assert all(isinstance(value, int | float | list | dict) for value in written.values())
