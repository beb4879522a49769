# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikefold.errors import ConfigError, DataError
from spikefold.event_dtype import EVENT_DTYPE
from spikefold.train.data.events import Recording
from spikefold.train.data.frames import Binning, Bins, to_frames, window

SENSOR = (5, 8)
"""Rows and columns: not square, so that x and y cannot change places unseen."""


def _clip(*rows: tuple[int, int, int, int], sensor: tuple[int, int] = SENSOR, name: str = "") -> Recording:
    """Events as (t, x, y, p)."""
    return Recording(np.array(list(rows), EVENT_DTYPE), sensor, name=name)


def _one(recording: Recording, **options: int) -> np.ndarray:
    """Frames ``(T, C, H, W)`` of one clip."""
    settings: dict[str, Any] = {"downsample": 1, "dt_us": 10, "steps": 3} | options
    return to_frames([recording], Binning(SENSOR, **settings))[:, 0]


def _where(frames: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(int(i) for i in place) for place in np.argwhere(frames)]


def test_pixel_x_y_lands_in_column_x_row_y_of_its_polarity() -> None:
    frames = _one(_clip((0, 6, 2, 1), (1, 1, 4, 0)))
    assert frames.shape == (3, 2, 5, 8)
    assert frames.dtype == np.uint16
    assert _where(frames) == [(0, 0, 4, 1), (0, 1, 2, 6)]


def test_every_pixel_and_polarity_has_a_place_of_its_own() -> None:
    places = [(x, y, p) for p in (0, 1) for y in range(5) for x in range(8)]
    for x, y, p in places:
        assert _where(_one(_clip((0, x, y, p)))) == [(0, p, y, x)]


def test_an_event_on_the_edge_belongs_to_the_later_bin() -> None:
    frames = _one(_clip((0, 0, 0, 0), (9, 1, 0, 0), (10, 2, 0, 0), (19, 3, 0, 0), (20, 4, 0, 0), (29, 5, 0, 0)))
    assert [(t, x) for t, _, _, x in _where(frames)] == [(0, 0), (0, 1), (1, 2), (1, 3), (2, 4), (2, 5)]


def test_events_after_the_clip_are_left_out() -> None:
    frames = _one(_clip((29, 0, 0, 0), (30, 1, 0, 0), (31, 2, 0, 0), (4_000_000_000, 3, 0, 0)))
    assert _where(frames) == [(2, 0, 0, 0)]


def test_a_clip_longer_than_the_clock_of_the_camera_counts() -> None:
    frames = _one(_clip((0, 0, 0, 0), (2**32 - 1, 1, 0, 0)), dt_us=2**31, steps=4)
    assert _where(frames) == [(0, 0, 0, 0), (1, 0, 0, 1)]


def test_several_events_of_one_pixel_add_up() -> None:
    frames = _one(_clip((0, 3, 1, 1), (4, 3, 1, 1), (5, 3, 1, 0), (9, 3, 1, 1)))
    assert frames[0, :, 1, 3].tolist() == [1, 3]


def test_down_sampling_keeps_the_remainder_at_the_lower_and_right_border() -> None:
    binning = Binning(SENSOR, 3, 10, 3)
    assert binning.shape == (2, 2, 3)
    recording = _clip((0, 2, 2, 0), (1, 3, 2, 0), (2, 2, 3, 0), (3, 7, 4, 0), (4, 6, 3, 0))
    frames = to_frames([recording], binning)[0, 0, 0]
    assert frames.tolist() == [[1, 1, 0], [1, 0, 2]]


def test_events_beyond_the_most_are_left_out() -> None:
    recording = _clip(*[(t, 3, 1, 1) for t in range(7)], (8, 0, 0, 1))
    frames = _one(recording, max_count=4)
    assert frames[0, 1, 1, 3] == 4
    assert frames.sum() == 5


def test_more_events_than_a_count_can_hold_do_not_wrap() -> None:
    events = np.zeros(70_000, EVENT_DTYPE)
    assert _one(Recording(events, SENSOR)).max() == 65_535


def test_clips_keep_their_order_and_do_not_touch_each_other() -> None:
    clips = [_clip((0, x, 0, 0)) for x in (4, 1, 7)]
    frames = to_frames(clips, Binning(SENSOR, 1, 10, 3))
    assert [(n, x) for _, n, _, _, x in _where(frames)] == [(0, 4), (1, 1), (2, 7)]


def test_a_smaller_sensor_fills_the_upper_left_corner() -> None:
    assert _where(_one(_clip((0, 1, 2, 0), sensor=(3, 3)))) == [(0, 0, 2, 1)]


@pytest.mark.parametrize("sensor", [(6, 8), (5, 9), (8, 5)])
def test_a_sensor_larger_than_the_network_is_refused_by_name(sensor: tuple[int, int]) -> None:
    clips = [_clip((0, 0, 0, 0), name="fits"), _clip((0, 0, 0, 0), sensor=sensor, name="too large")]
    with pytest.raises(DataError, match="1 recordings are larger") as caught:
        to_frames(clips, Binning(SENSOR, 1, 10, 3))
    assert caught.value.where == "too large"
    assert f"{sensor[1]}x{sensor[0]}" in caught.value.what
    assert "8x5" in caught.value.what


def test_a_clip_without_events_is_refused_by_name() -> None:
    clips = [_clip((0, 0, 0, 0), name="full"), _clip((30, 0, 0, 0), name="late"), _clip(name="empty")]
    with pytest.raises(DataError, match="2 recordings have no event in the first 30 us") as caught:
        to_frames(clips, Binning(SENSOR, 1, 10, 3))
    assert caught.value.where == "late"


EVENTS = st.lists(st.tuples(*(st.integers(0, n) for n in (99, 7, 4, 1))), min_size=1, max_size=60)


@given(EVENTS, st.integers(1, 9), st.integers(1, 40))
def test_no_event_is_lost_where_nothing_is_cut(rows: list[tuple[int, ...]], downsample: int, dt_us: int) -> None:
    recording = Recording(np.array(sorted(rows), EVENT_DTYPE), SENSOR)
    frames = to_frames([recording], Binning(SENSOR, downsample, dt_us, -(-100 // dt_us)))[:, 0]
    assert frames.sum() == len(rows)
    expected = np.zeros(frames.shape, int)
    for t, x, y, p in rows:
        expected[t // dt_us, p, y // downsample, x // downsample] += 1
    assert np.array_equal(frames, expected)


@pytest.mark.parametrize(
    ("count", "sizes"), [(12, [4, 4, 4]), (14, [4, 4, 6]), (3, [1, 1, 1]), (5, [1, 1, 3]), (2, [1, 1, 0])]
)
def test_bins_by_count_hold_equally_many_events_and_the_last_the_rest(count: int, sizes: list[int]) -> None:
    times = np.sort(np.random.default_rng(count).integers(0, 10**6, count)).tolist()
    recording = _clip(*[(t, n % 8, n // 8, 0) for n, t in enumerate(times)])
    frames = to_frames([recording], Binning(SENSOR, 1, 1, 3, bins=Bins.COUNT))[:, 0]
    assert frames.sum(axis=(1, 2, 3)).tolist() == sizes
    places = [int(y) * 8 + int(x) for step in frames for _, y, x in np.argwhere(step)]
    assert places == list(range(count)), "in order of time"


@given(EVENTS, st.integers(1, 9))
def test_bins_by_count_are_those_of_spikingjelly(rows: list[tuple[int, ...]], steps: int) -> None:
    recording = Recording(np.array(sorted(rows), EVENT_DTYPE), SENSOR)
    frames = to_frames([recording], Binning(SENSOR, 1, 1, steps, bins=Bins.COUNT))[:, 0]
    assert frames.sum() == len(rows)
    if len(rows) < steps:
        return
    # cal_fixed_frames_number_segment_index with split_by="number": N // T each, the last up to N
    each = len(rows) // steps
    ends = [each * (n + 1) for n in range(steps - 1)] + [len(rows)]
    expected = np.zeros(frames.shape, int)
    for step, (first, last) in enumerate(zip([0, *ends], ends, strict=False)):
        for _, x, y, p in recording.events[first:last].tolist():
            expected[step, p, y, x] += 1
    assert np.array_equal(frames, expected)


@given(EVENTS, st.integers(0, 120))
def test_a_window_holds_the_events_of_its_time_from_its_start(rows: list[tuple[int, ...]], start: int) -> None:
    recording = Recording(np.array(sorted(rows), EVENT_DTYPE), SENSOR)
    found = window(recording.events, Binning(SENSOR, 1, 10, 3), start)
    expected = [(t - start, x, y, p) for t, x, y, p in recording.events.tolist() if start <= t < start + 30]
    assert found.tolist() == expected
    assert not recording.events.flags.writeable
    assert recording.events.tolist() == np.array(sorted(rows), EVENT_DTYPE).tolist()


def test_a_clip_of_more_values_than_fit_in_memory_is_refused() -> None:
    recording = Recording(np.array([(0, 1, 1, 1), (9, 2, 2, 0)], EVENT_DTYPE), (34, 34), 0)
    with pytest.raises(ConfigError, match=r"2,312,000,000,000 values") as caught:
        to_frames([recording], Binning((34, 34), 1, 1, 10**9))
    assert caught.value.where == "data.steps"
