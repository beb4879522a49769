# SPDX-License-Identifier: Apache-2.0
"""Each format against files that `format_writers` makes byte by byte from its definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.errors import DataError
from spikefold.train.data.parsing.reading import Reading
from spikefold.train.data.readers import read
from spikefold.train.data.repairs import OnFault
from tests.train.data.formats.format_cases import CASES, REPAIR, clip, or_none, put, tuples

EACH = pytest.mark.parametrize("name", CASES)


@EACH
@settings(max_examples=25, derandomize=True, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read(name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    case = CASES[name]
    height, width = case.sensor
    first = data.draw(st.integers(0, case.latest_us))
    # spread over what a recording's time can hold, and what the format can
    times = st.integers(first, min(case.latest_us, first + 2**32 - 1, first + 2**14 if "stream" in name else 2**60))
    event = st.tuples(times, st.integers(0, width - 1), st.integers(0, height - 1), st.integers(0, 1))
    events = sorted(data.draw(st.lists(event, min_size=1, max_size=20)), key=lambda e: e[0])
    path = put(tmp_path_factory.mktemp("f"), case, case.write(events))
    (recording,) = read(path, Reading(sensor=None if case.said else case.sensor))
    assert tuples(recording, 0 if case.from_start else events[0][0]) == events
    assert recording.sensor == case.sensor
    assert not recording.repairs


@EACH
def test_a_file_cut_at_any_byte_is_refused_or_a_beginning_of_itself(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    events = clip(case)
    whole = case.write(events)
    refused = repaired_files = beginnings = 0
    for cut in range(len(whole)):
        path = put(tmp_path, case, whole[:cut])
        as_is = or_none(path, Reading(sensor=case.sensor))
        repaired = or_none(path, Reading(OnFault.REPAIR, case.sensor))
        refused += as_is is None
        if repaired is None:
            assert as_is is None
            continue
        kept = tuples(repaired)
        # a number of the last line may be cut, and still be a number
        sure = kept[:-1] if name == "text" else kept
        assert sure == events[: len(sure)], cut
        beginnings += 1
        assert (as_is is None) == bool(repaired.repairs), cut
        if repaired.repairs:
            assert repaired.repairs.truncated == 1
            assert repaired.repairs.lost_bytes or name in ("aedat3", "aedat4")
            repaired_files += 1
    assert beginnings >= 8
    assert repaired_files >= 8
    assert refused > len(whole) // 3
    if case.record:
        assert beginnings == case.record * len(events) - case.record
        assert beginnings - repaired_files == len(events) - 1, "only a cut between two events goes unnoticed"


@EACH
def test_no_wrong_byte_gives_anything_but_a_data_error(name: str, tmp_path: Path) -> None:
    case, rng = CASES[name], np.random.default_rng(5)
    whole = case.write(clip(case, 30))
    ends = {True: 0, False: 0}
    for place in rng.integers(0, len(whole), 150):
        content = bytearray(whole)
        content[place] ^= int(rng.integers(1, 256))
        ends[or_none(put(tmp_path, case, bytes(content)), REPAIR) is None] += 1
    assert sum(ends.values()) == 150
    assert ends[False], "some changes only move an event"


@EACH
def test_an_empty_file_and_one_of_another_format_are_refused(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    with pytest.raises(DataError, match="empty"):
        read(put(tmp_path, case, b""))
    if case.suffix not in (".bin", ".txt"):
        with pytest.raises(DataError, match="does not begin like"):
            read(put(tmp_path, case, b"\x89PNG\r\n" + case.write(clip(case))))
    with pytest.raises(DataError):
        read(put(tmp_path, case, b"\xff" * 4), REPAIR)


@EACH
def test_a_file_without_events_is_refused(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    content = case.write([])
    for reading in (Reading(), REPAIR):
        with pytest.raises(DataError, match=r"no event|empty"):
            read(put(tmp_path, case, content), reading)
