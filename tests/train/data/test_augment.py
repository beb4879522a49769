# SPDX-License-Identifier: Apache-2.0
"""Shifts against a loop over pixels; a geometric change by what it does to a cross of events; EventDrop.

EventDrop is held against its description, and against each fault of the published code.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from spikefold.errors import DataError
from spikefold.event_dtype import EVENT_DTYPE
from spikefold.train.data.augment import event_drop, geometric, geometric_change, moved, shifted
from spikefold.train.data.frames import Binning, cut, cut_moved

SENSOR, CLIP_US = (40, 100), 1000
"""Rows and columns, unlike; microseconds."""


def _events(count: int = 4000, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    events = np.zeros(count, EVENT_DTYPE)
    events["t"] = np.sort(rng.integers(0, CLIP_US, count))
    events["x"], events["y"] = rng.integers(0, SENSOR[1], count), rng.integers(0, SENSOR[0], count)
    events["p"] = rng.integers(0, 2, count)
    return events


class _Way(np.random.Generator):
    """A generator whose first draw, the way, is given; all others are random."""

    def __init__(self, way: int, seed: int) -> None:
        super().__init__(np.random.PCG64(seed))
        self._way, self._first = way, True

    def integers(self, *bounds: Any, **options: Any) -> Any:
        if self._first:
            assert bounds == (4,)
            self._first = False
            return self._way
        return super().integers(*bounds, **options)


def _dropped(way: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All events, numbered by index, which were kept, and which not."""
    events = _events()
    kept = event_drop(events, SENSOR, CLIP_US, _Way(way, seed))
    # equal events are the same for every purpose; compare as multisets, then as an ordered sub-sequence
    whole, left = Counter(events.tolist()), Counter(kept.tolist())
    assert not left - whole
    assert len(kept) < len(events)
    assert np.all(np.diff(kept["t"].astype(int)) >= 0), "in their order: they are cut into bins by time"
    gone = np.array(sorted((whole - left).elements()), EVENT_DTYPE)
    return events, kept, gone


@pytest.mark.parametrize("seed", range(12))
def test_a_stretch_of_time_goes_whole_and_nothing_else(seed: int) -> None:
    events, kept, gone = _dropped(1, seed)
    low, high = int(gone["t"].min()), int(gone["t"].max())
    assert not ((kept["t"] >= low) & (kept["t"] <= high)).any()
    assert high - low <= 0.9 * CLIP_US
    assert high >= CLIP_US - 5 or (high - low) % 100 in (*range(96, 100), *range(4)), "tenths, or cut at the end"
    assert len(events) == len(kept) + len(gone)


@pytest.mark.parametrize("seed", range(12))
def test_a_rectangle_goes_whole_and_nothing_else(seed: int) -> None:
    _, kept, gone = _dropped(2, seed)
    inside = np.ones(len(kept), bool)
    for key, side in (("x", SENSOR[1]), ("y", SENSOR[0])):
        low, high = int(gone[key].min()), int(gone[key].max())
        inside &= (kept[key] >= low) & (kept[key] <= high)
        assert high - low + 1 <= 0.25 * side + 1
    assert not inside.any(), "no cross, no other columns: x and y of the sensor as it is"
    assert set(gone["p"].tolist()) == {0, 1}


def test_areas_lie_everywhere_on_the_sensor() -> None:
    gone = np.concatenate([_dropped(2, seed)[2] for seed in range(60)])
    assert gone["x"].max() > 90
    assert gone["y"].max() > 36
    assert gone["x"].min() < 10
    assert gone["y"].min() < 4


@pytest.mark.parametrize("seed", range(12))
def test_a_random_drop_takes_tenths_of_all_events_in_order(seed: int) -> None:
    events, kept, gone = _dropped(3, seed)
    assert len(gone) % 400 == 0
    assert 400 <= len(gone) <= 3600
    assert np.ptp(kept["t"].astype(int)) > 0.9 * np.ptp(events["t"].astype(int))


def test_the_four_ways_are_equally_likely_and_a_draw_repeats() -> None:
    events = _events(200)
    same = sum(
        len(event_drop(events, SENSOR, CLIP_US, np.random.default_rng(seed))) == len(events) for seed in range(800)
    )
    assert 160 < same < 290, "a quarter stays whole, and an area can be empty"
    again = [event_drop(events, SENSOR, CLIP_US, np.random.default_rng(5)).tolist() for _ in range(2)]
    assert again[0] == again[1]


@pytest.mark.parametrize("way", range(4))
def test_a_clip_never_ends_up_empty(way: int) -> None:
    one = _events(1)
    assert all(len(event_drop(one, SENSOR, CLIP_US, _Way(way, seed))) == 1 for seed in range(60))
    none = one[:0]
    assert all(len(event_drop(none, SENSOR, CLIP_US, _Way(way, seed))) == 0 for seed in range(5))


def _moved(frames: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Pixel by pixel."""
    out = torch.zeros_like(frames)
    height, width = frames.shape[3:]
    for row, column in itertools.product(range(height), range(width)):
        if 0 <= row + down < height and 0 <= column + right < width:
            out[..., row + down, column + right] = frames[..., row, column]
    return out


@pytest.mark.parametrize(("down", "right"), [(0, 0), (1, 0), (0, 2), (-2, 1), (2, -2)])
def test_a_batch_is_moved_down_and_right_with_zeros_moved_in(
    monkeypatch: pytest.MonkeyPatch, down: int, right: int
) -> None:
    frames = torch.arange(1.0, 1 + 2 * 3 * 2 * 5 * 7).reshape(2, 3, 2, 5, 7)
    monkeypatch.setattr(torch, "randint", lambda low, high, size: torch.tensor([down, right]))
    assert torch.equal(shifted(frames, 2), _moved(frames, down, right))


def test_every_shift_up_to_the_most_comes_and_none_beyond() -> None:
    torch.manual_seed(0)
    frames = torch.arange(1.0, 1 + 4 * 5).reshape(1, 1, 1, 4, 5)
    known = {_moved(frames, *shift).numpy().tobytes(): shift for shift in itertools.product((-1, 0, 1), repeat=2)}
    seen = {known[shifted(frames, 1).numpy().tobytes()] for _ in range(200)}
    assert len(seen) == 9
    assert shifted(frames, 0) is frames


def _cross() -> np.ndarray:
    """A thousand events at each of five places: the middle of a sensor of 100x100, and four around it."""
    events = np.zeros(5000, EVENT_DTYPE)
    events["t"] = np.arange(5000)
    events["p"] = np.arange(5000) % 2
    for arm, (x, y) in enumerate([(50, 50), (70, 50), (30, 50), (50, 70), (50, 30)]):
        events["x"][arm::5], events["y"][arm::5] = x, y
    return events


def test_a_clip_is_changed_by_one_matrix_within_the_bounds_and_times_and_polarities_stay() -> None:
    turns, lengths, moves = [], [], []
    for seed in range(200):
        events = _cross()
        changed = geometric(events, (100, 100), np.random.default_rng(seed))
        assert len(changed) == len(events), "the cross is far from the borders"
        assert np.array_equal(changed["t"], events["t"])
        assert np.array_equal(changed["p"], events["p"])
        middle, right, left, low, high = (
            np.array([changed["x"][arm::5].mean() + 0.5, changed["y"][arm::5].mean() + 0.5]) for arm in range(5)
        )
        # the arms stay opposite each other: the map is affine
        assert np.allclose(right + left, 2 * middle, atol=0.3)
        assert np.allclose(low + high, 2 * middle, atol=0.3)
        across = (right - left) / 2
        turns.append(np.degrees(np.arctan2(across[1], across[0])))
        lengths.append(np.hypot(*across) / 20)
        moves.append(middle - 50.5)
    assert 8 < np.max(np.abs(turns)) < 10.5
    assert 0.86 < np.min(lengths) < 0.92 < 1.08 < np.max(lengths) < 1.14
    assert 5 < np.max(np.abs(moves)) < 7, "a sixteenth of 100, and the half pixel"
    assert abs(np.mean(turns)) < 1.2


def test_events_that_leave_the_sensor_are_left_out_and_none_is_outside() -> None:
    events, sensor = _events(4000), (40, 100)
    seen = set()
    for seed in range(40):
        changed = geometric(events, sensor, np.random.default_rng(seed))
        assert changed["x"].max() < sensor[1]
        assert changed["y"].max() < sensor[0]
        assert 0.6 * len(events) < len(changed) <= len(events)
        seen.add(len(changed))
    assert min(seen) < len(events)
    assert len(seen) > 10, "each draw is another"
    none = events[:0]
    assert len(geometric(none, sensor, np.random.default_rng(0))) == 0


def test_places_within_pixels_are_the_generators_own_draws() -> None:
    for count in (0, 1, 2, 999):
        change = geometric_change(count, (40, 100), np.random.default_rng(count))
        rng = np.random.default_rng(count)
        rng.uniform(size=6)
        assert change.within.tolist() == rng.integers(2**32, size=count, dtype=np.uint32).tolist()
        assert change.within.shape == (count,)


@pytest.mark.parametrize(("sensor", "downsample"), [((40, 100), 1), ((40, 100), 3), ((50, 120), 7), ((41, 101), 4)])
def test_a_clip_is_moved_and_counted_at_once_as_one_after_the_other(sensor: tuple[int, int], downsample: int) -> None:
    for seed, count in enumerate((1, 3, 700, 5000)):
        events = _events(count, seed)
        for most in (2, 65535):
            # of a clip that ends before its last bin, and of a network with a larger sensor
            binning = Binning(sensor, downsample, 130, 8, most)
            change = geometric_change(count, SENSOR, np.random.default_rng(seed))
            wanted = cut(moved(events, change), binning)
            found = cut_moved(events, binning, change)
            assert found.dtype == np.uint16
            assert found.tobytes() == wanted.tobytes()
            assert wanted.sum() > 0.3 * count or most == 2


def test_a_clip_of_which_nothing_would_be_left_is_counted_whole() -> None:
    events = _events(50)
    change = geometric_change(50, SENSOR, np.random.default_rng(0))
    away = replace(change, offset=np.array([-1e4, 0.0]))
    binning = Binning(SENSOR, 2, 125, 8)
    assert cut_moved(events, binning, away).tobytes() == cut(events, binning).tobytes()
    assert cut(events, binning).sum() == 50
    assert len(moved(events, away)) == 50


def test_events_that_move_beyond_the_network_are_refused() -> None:
    change = geometric_change(4000, SENSOR, np.random.default_rng(0))
    with pytest.raises(DataError, match="of an input of"):
        cut_moved(_events(4000), Binning((20, 50), 1, 125, 8), change)
