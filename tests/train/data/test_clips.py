# SPDX-License-Identifier: Apache-2.0
"""Clips cut at random and evenly spaced, against the events themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.errors import ConfigError, DataError, SpikefoldError
from spikefold.event_dtype import EVENT_DTYPE
from spikefold.train.data.clips import ClipSet, Slices, Windows, starts_us
from spikefold.train.data.events import Recording
from spikefold.train.data.frames import Binning, Bins
from tests.train.training_cases import halves

BINNING = Binning((4, 50), 1, 10, 3)
"""A clip is 30 us."""


def _ramp(duration_us: int, label: int = 0) -> Recording:
    """One event a microsecond; its pixel tells the time."""
    t = np.arange(duration_us)
    events = np.zeros(duration_us, EVENT_DTYPE)
    events["t"], events["x"], events["y"] = t, t % 50, (t // 50) % 4
    return Recording(events, (4, 50), label)


def _times(frames: np.ndarray) -> list[list[int]]:
    """The moments seen in each bin of a clip ``(T, C, H, W)`` of `_ramp`."""
    return [sorted(int(y) * 50 + int(x) for _, y, x in np.argwhere(step)) for step in frames]


def _slices(*recordings: Recording, anywhere: bool = True, augment: str = "none", seed: int = 0) -> Slices:
    return Slices(recordings, BINNING, seed, anywhere, augment)


def test_a_random_window_is_consecutive_and_anywhere_in_the_recording() -> None:
    slices, starts = _slices(_ramp(100)), []
    for epoch in range(1, 400):
        found = _times(slices.batch(np.array([0]), epoch)[:, 0])
        first = found[0][0]
        assert found == [list(range(first + 10 * k, first + 10 * k + 10)) for k in range(3)]
        starts.append(first)
    assert (min(starts), max(starts)) == (0, 70), "the last window ends with the recording"
    assert len(set(starts)) > 60


def test_windows_follow_from_seed_epoch_and_recording_alone() -> None:
    recordings = [_ramp(150, label) for label in range(6)]
    slices = _slices(*recordings, augment="eventdrop")
    whole = slices.batch(np.arange(6), 3)
    assert np.array_equal(slices.batch(np.array([5, 2]), 3), whole[:, [5, 2]]), "whatever the batch"
    assert np.array_equal(_slices(*recordings, augment="eventdrop").batch(np.arange(6), 3), whole)
    assert not np.array_equal(slices.batch(np.arange(6), 4), whole), "another epoch"
    assert not np.array_equal(_slices(*recordings, augment="eventdrop", seed=1).batch(np.arange(6), 3), whole)
    assert len({whole[:, n].tobytes() for n in range(6)}) == 6, "each recording by itself"


def test_without_a_window_or_a_drop_a_slice_is_the_start() -> None:
    assert _times(_slices(_ramp(100), anywhere=False).batch(np.array([0]), 1)[:, 0]) == [
        list(range(10 * k, 10 * k + 10)) for k in range(3)
    ]


def test_a_recording_shorter_than_a_clip_is_whole_with_empty_bins_at_its_end() -> None:
    for epoch in (1, 2):
        found = _times(_slices(_ramp(15)).batch(np.array([0]), epoch)[:, 0])
        assert found == [list(range(10)), list(range(10, 15)), []]


def test_dropped_events_are_those_of_the_window() -> None:
    slices, plain = _slices(_ramp(100), augment="eventdrop", anywhere=False), _slices(_ramp(100), anywhere=False)
    whole = plain.batch(np.array([0]), 1)
    sums = []
    for epoch in range(1, 60):
        found = slices.batch(np.array([0]), epoch)
        assert (found <= whole).all()
        sums.append(int(found.sum()))
    assert min(sums) < 15
    assert max(sums) == 30


def test_the_window_is_cut_before_the_drop() -> None:
    # a stretch of time dropped is of the clip: with a whole recording of 30 clips few windows would lose anything
    slices = _slices(_ramp(900), augment="eventdrop")
    lost = sum(int(slices.batch(np.array([0]), epoch).sum()) < 30 for epoch in range(1, 101))
    assert lost > 40


@settings(derandomize=True)
@given(st.integers(1, 500), st.integers(1, 12))
def test_evenly_spaced_windows_start_as_published_and_stay_inside(duration: int, count: int) -> None:
    found = starts_us(_ramp(duration), BINNING, count)
    last = duration - 1
    assert found[0] == 0
    assert found == sorted(found)
    assert all(start == 0 or start + BINNING.clip_us <= duration for start in found)
    for j, start in enumerate(found):
        assert abs(start - min(j * last / count, max(0, last - BINNING.clip_us))) <= 1


def test_windows_of_a_recording_lie_side_by_side() -> None:
    windows = Windows([_ramp(100, 1), _ramp(15, 0)], BINNING, 4)
    frames = windows.frames([1, 0])
    assert frames.shape == (3, 8, 2, 4, 50)
    assert [_times(frames[:, n])[0][0] for n in range(8)] == [0, 0, 0, 0, 0, 24, 49, 70]
    assert _times(frames[:, 5])[2][-1] == 53
    assert windows.labels.tolist() == [1, 0]


def test_a_window_in_which_nothing_happens_is_a_clip_of_zeros() -> None:
    events = np.zeros(2, EVENT_DTYPE)
    events["t"] = (0, 999)
    windows = Windows([Recording(events, (4, 50))], BINNING, 3)
    assert windows.frames([0]).sum(axis=(0, 2, 3, 4)).tolist() == [1, 0, 0]


def test_what_cannot_be_cut_is_refused() -> None:
    by_count = Binning((4, 50), 1, 10, 3, bins=Bins.COUNT)
    with pytest.raises(ConfigError, match="span the whole recording"):
        Slices([_ramp(100)], by_count, 0, True, "none")
    with pytest.raises(ConfigError, match="span the whole recording"):
        Windows([_ramp(100)], by_count, 2)
    with pytest.raises(DataError, match="1 recordings have no event"):
        _slices(_ramp(100), Recording(np.zeros(0, EVENT_DTYPE), (4, 50), name="empty"))
    for make in (_slices, lambda r: Windows([r], BINNING)):
        with pytest.raises(DataError, match="larger than the network"):
            make(Recording(_ramp(3).events, (60, 50)))


def test_a_drop_from_bins_by_count_spans_the_recording() -> None:
    by_count = Binning((4, 50), 1, 10, 3, bins=Bins.COUNT)
    slices = Slices([_ramp(190)], by_count, 0, False, "eventdrop")
    sums = [int(slices.batch(np.array([0]), epoch).sum()) for epoch in range(1, 60)]
    assert max(sums) == 190
    assert min(sums) < 100


@pytest.mark.parametrize("change", ["count", "label", "frame"])
def test_other_data_have_another_fingerprint(change: str) -> None:
    clips = halves(8)
    frames, labels = clips.frames.copy(), clips.labels.copy()
    if change == "frame":
        frames[0, 0, 0, 0, 0] += 1
    elif change == "label":
        labels[3] = 1 - labels[3]
    other = ClipSet(frames, labels).first(7) if change == "count" else ClipSet(frames, labels)
    assert clips.fingerprint() == halves(8).fingerprint() != other.fingerprint()


def test_other_recordings_have_another_fingerprint() -> None:
    kinds = [
        _slices(_ramp(100)),
        _slices(_ramp(101)),
        _slices(_ramp(100, 1)),
        _slices(_ramp(100), _ramp(100)),
        _slices(_ramp(100), anywhere=False),
        _slices(_ramp(100), augment="eventdrop"),
        Slices([_ramp(100)], replace(BINNING, dt_us=11), 0, True, "none"),
    ]
    assert len({slices.fingerprint() for slices in kinds}) == 7
    assert _slices(_ramp(100)).fingerprint() == kinds[0].fingerprint()


def test_frames_and_labels_must_go_together() -> None:
    with pytest.raises(SpikefoldError, match="do not go with"):
        ClipSet(np.zeros((3, 4, 2, 6, 6), np.uint16), np.zeros(5, np.int64))
    with pytest.raises(SpikefoldError):
        ClipSet(np.zeros((4, 2, 6, 6), np.uint16), np.zeros(2, np.int64))


def test_first_keeps_clips_and_labels_together() -> None:
    clips = halves(6)
    first = clips.first(4)
    assert len(first) == 4
    assert np.array_equal(first.frames, clips.frames[:, :4])
    assert first.labels.tolist() == [0, 1, 0, 1]


def test_a_batch_and_a_selection_are_the_chosen_clips() -> None:
    clips, chosen = halves(9), np.array([7, 0, 4])
    assert np.array_equal(clips.batch(chosen, 1), clips.frames[:, chosen])
    assert clips.batch(chosen, 1).flags["C_CONTIGUOUS"]
    picked = clips.only(chosen)
    assert np.array_equal(picked.frames, clips.frames[:, chosen])
    assert np.array_equal(picked.labels, clips.labels[chosen])
    assert clips.shape == (3, 2, 6, 8)
