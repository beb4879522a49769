# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.errors import DataError
from spikefold.train.data.parsing.checked import to_recordings
from spikefold.train.data.parsing.clocks import LATE_US, MOST_STRETCHES, microseconds, set_back, unrolled
from spikefold.train.data.parsing.raw_events import RawEvents
from spikefold.train.data.parsing.reading import Reading, TimeUnit
from spikefold.train.data.readers import read
from spikefold.train.data.repairs import OnFault, Repairs
from tests.train.data.formats import format_writers as write
from tests.train.data.formats.format_cases import tuples

REPAIR = Reading(OnFault.REPAIR)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(-900, 60_000_000), min_size=1, max_size=60),
    st.sampled_from([24, 32, 34]),
)
def test_a_counter_that_laps_is_the_time_that_passed(start: int, steps: list[int], bits: int) -> None:
    """Also over several laps, and with late events around them."""
    near = min(2**bits // 4, 60_000_000)
    t = start + 1000 + np.cumsum([0, *(min(step, near) for step in steps)])
    # an event that is late before the counter has run over even once is no event of the lap before
    t = np.maximum(t, t[0])
    found = unrolled(t % 2**bits, bits)
    assert len(found) == len(t) >= 2
    assert np.array_equal(found - found[0], t - t[0])


def test_a_fall_from_the_middle_of_the_range_is_no_lap() -> None:
    t = np.array([2**31, 2**31 + 5, 0, 5], np.int64)
    assert np.array_equal(unrolled(t, 32), t)
    assert set_back(t) == [2]


LAPS: dict[str, tuple[str, Callable[[list[write.Event]], bytes], int]] = {
    "aedat2": (".aedat", write.aedat2_dvs128, 2**32),
    "dat": (".dat", write.dat, 2**32),
    "evt2": (".raw", write.evt2, 2**34),
    "evt3": (".raw", write.evt3, 2**24),
}


@pytest.mark.parametrize("name", LAPS)
def test_the_laps_of_every_format_are_unrolled(name: str, tmp_path: Path) -> None:
    suffix, writer, lap = LAPS[name]
    times = [lap - 3000 + 1000 * i for i in range(6)]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(writer([(t % lap, i, 10 + i, i % 2) for i, t in enumerate(times)]))
    (recording,) = read(path)
    assert tuples(recording) == [(1000 * i, i, 10 + i, i % 2) for i in range(6)]
    assert not recording.repairs


@pytest.mark.parametrize("name", [*LAPS, "npz", "text"])
def test_a_clock_that_was_set_to_zero_cuts_the_recording_or_is_refused(name: str, tmp_path: Path) -> None:
    times = [10_000, 20_000, 30_000, 0, 10_000, 20_000]
    events = [(t, i, 10 + i, i % 2) for i, t in enumerate(times)]
    if name == "npz":
        path = tmp_path / "a.npz"
        np.savez(path, **dict(zip("txyp", np.array(events).T, strict=True)))
    else:
        suffix, writer, _ = LAPS.get(name, (".txt", write.text, 0))
        path = tmp_path / f"a{suffix}"
        path.write_bytes(writer(events))
    with pytest.raises(DataError, match="clock was set back at event 3 of 6") as caught:
        read(path)
    assert "data.on_fault" in caught.value.hint
    first, second = read(path, REPAIR)
    assert tuples(first) == [(10_000 * i, i, 10 + i, i % 2) for i in range(3)]
    assert tuples(second) == [(10_000 * (i - 3), i, 10 + i, i % 2) for i in range(3, 6)]
    assert (first.repairs, second.repairs) == (Repairs(cuts=1), Repairs())
    assert (first.part, second.part) == (0, 1)
    assert first.name != second.name


def _raw(t: list[int]) -> RawEvents:
    zeros = np.zeros(len(t), np.int64)
    return RawEvents(np.array(t, np.int64), zeros, zeros, zeros, (1, 1))


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.lists(st.integers(-3 * LATE_US, 5 * LATE_US), max_size=40))
def test_no_repair_moves_an_event_by_more_than_events_are_late(steps: list[int]) -> None:
    """Every part has its events near where the file has them: two times are never mixed."""
    t = np.cumsum([0, *steps]).tolist()
    try:
        parts = to_recordings(_raw(t), "mine", REPAIR)
    except DataError as error:
        assert "in no order" in error.what  # noqa: PT017  the other outcome is as good
        assert len(set_back(np.array(t))) == MOST_STRETCHES
        return
    assert sum(len(part.events) for part in parts) == len(t)
    place = 0
    for part in parts:
        there = np.array(t[place : place + len(part.events)])
        place += len(part.events)
        assert np.array_equal(part.events["t"], np.sort(there) - there.min())
        assert np.all(np.maximum.accumulate(there) - there <= LATE_US)


def test_a_recording_in_no_order_is_refused_under_any_policy() -> None:
    with pytest.raises(DataError, match="in no order") as caught:
        to_recordings(_raw([10**6 - 10**5 * i for i in range(12)]), "mine", REPAIR)
    assert "sort the events" in caught.value.hint


@pytest.mark.parametrize(
    ("t", "unit", "expected"),
    [
        (np.array([0.0, 0.0203, 1.5]), TimeUnit.SECONDS, [0, 20_300, 1_500_000]),
        (np.array([0.0, 0.0203], np.float32), TimeUnit.SECONDS, [0, 20_300]),
        (np.array([0, 3]), TimeUnit.SECONDS, [0, 3_000_000]),
        (np.array([0.0004, 2.0]), TimeUnit.MILLISECONDS, [0, 2000]),
        (np.array([499, 500, 1_500, -500], np.int64), TimeUnit.NANOSECONDS, [0, 1, 2, 0]),
        (np.array([499.0, 500.0, 1500.0]), TimeUnit.NANOSECONDS, [0, 1, 2]),
        (np.array([5.0, 7.0]), TimeUnit.MICROSECONDS, [5, 7]),
        (np.array([], np.float64), TimeUnit.SECONDS, []),
    ],
    ids=str,
)
def test_times_of_any_unit_become_the_nearest_microsecond(t: np.ndarray, unit: TimeUnit, expected: list[int]) -> None:
    assert microseconds(t, unit).tolist() == expected
    assert microseconds(t, unit).dtype == np.int64


@pytest.mark.parametrize(
    ("t", "unit"),
    [
        (np.array([0.5]), TimeUnit.MICROSECONDS),
        (np.array([np.nan, 1]), TimeUnit.SECONDS),
        (np.array([np.inf]), TimeUnit.SECONDS),
        (np.array([2**63], np.uint64), TimeUnit.MICROSECONDS),
        (np.array([1_700_000_000_000_000]), TimeUnit.SECONDS),
        (np.array(["1"]), TimeUnit.SECONDS),
    ],
    ids=str,
)
def test_what_is_no_time_is_refused(t: np.ndarray, unit: TimeUnit) -> None:
    with pytest.raises(DataError):
        microseconds(t, unit)


@pytest.mark.parametrize("suffix", ["txt", "npz", "npy"])
def test_one_option_says_the_unit_where_the_format_leaves_it_open(suffix: str, tmp_path: Path) -> None:
    rows = np.array([[0.0, 0, 4, 1], [0.0203, 7, 0, 0], [1.000001, 2, 1, 1]])
    path = tmp_path / f"a.{suffix}"
    if suffix == "txt":
        path.write_text("".join(f"{t!r} {x:.0f} {y:.0f} {p:.0f}\n" for t, x, y, p in rows.tolist()))
    elif suffix == "npy":
        np.save(path, rows)
    else:
        np.savez(path, **dict(zip("txyp", rows.T, strict=True)))
    with pytest.raises(DataError, match="not whole") as caught:
        read(path)
    assert 'data.time_unit = "s"' in caught.value.hint
    (recording,) = read(path, Reading(time_unit=TimeUnit.SECONDS))
    assert tuples(recording) == [(0, 0, 4, 1), (20_300, 7, 0, 0), (1_000_001, 2, 1, 1)]


def test_the_unit_is_that_of_the_format_where_it_has_one(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(write.dat([(5, 1, 2, 1), (9, 3, 4, 0)]))
    assert tuples(read(tmp_path / "a.dat", Reading(time_unit=TimeUnit.SECONDS))[0]) == [(0, 1, 2, 1), (4, 3, 4, 0)]
