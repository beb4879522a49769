# SPDX-License-Identifier: Apache-2.0
"""What is special to a camera's format; what all have in common is in `test_formats`."""

from __future__ import annotations

import importlib
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.errors import DataError, EnvironmentLacksError
from spikefold.train.data.formats.evt3 import decode_words
from spikefold.train.data.parsing.reading import Reading
from spikefold.train.data.readers import read
from tests.train.data.formats import format_writers as write
from tests.train.data.formats.format_cases import CASES, REPAIR, clip, or_none, put, tuples

# ------------------------------------------------------------------------------------------------ AEDAT 2


def test_aedat2_without_a_camera_line_tells_the_cameras_by_their_addresses(tmp_path: Path) -> None:
    for name, writer in (("aedat2 dvs128", write.aedat2_dvs128), ("aedat2 davis346", write.aedat2_davis346)):
        events = clip(CASES[name])
        (recording,) = read(put(tmp_path, CASES[name], writer(events, chip="")))
        assert tuples(recording) == events
        assert recording.sensor == CASES[name].sensor


def test_aedat2_leaves_out_what_is_no_pixel(tmp_path: Path) -> None:
    dvs = write.aedat2_dvs128([(1, 5, 6, 1)]) + struct.pack(">IIII", 0x8000, 2, 0x80000000, 3)
    assert tuples(read(put(tmp_path, CASES["aedat2 dvs128"], dvs))[0]) == [(0, 5, 6, 1)]
    frame_external_imu = struct.pack(">IIIIII", 0x80000000 | 99, 2, 1 << 10, 3, 0xFFFFFFFF, 4)
    davis = write.aedat2_davis346([(1, 5, 6, 0)]) + frame_external_imu
    assert tuples(read(put(tmp_path, CASES["aedat2 davis346"], davis))[0]) == [(0, 5, 6, 0)]


def test_aedat2_data_that_begins_with_a_number_sign_is_no_header(tmp_path: Path) -> None:
    # a row whose address begins with the byte 0x23; DVS addresses of the DAVIS do
    y = 259 - (0x23000000 >> 22)
    events = [(0x80, 345, y, 0), (0x81, 1, 2, 1)]
    content = write.aedat2_davis346(events).replace(b"#End Of ASCII Header\r\n", b"")
    assert content.split(b"Davis346B\r\n")[1][:1] == b"#"
    assert tuples(read(put(tmp_path, CASES["aedat2 davis346"], content))[0], 0x80) == events


# ------------------------------------------------------------------------------------------------ AEDAT 3.1


def test_aedat3_leaves_out_invalid_events_and_other_packets(tmp_path: Path) -> None:
    case = CASES["aedat3"]
    content = bytearray(write.aedat3([(5, 1, 2, 1), (6, 3, 4, 0)]))
    content[-16] &= 0xFE
    special = struct.pack("<HHIIIIII", 0, 1, 8, 4, 0, 1, 1, 1) + struct.pack("<II", 1, 7)
    (recording,) = read(put(tmp_path, case, bytes(content) + special))
    assert tuples(recording) == [(0, 3, 4, 0)]


@pytest.mark.parametrize(
    ("place", "value", "what"), [(4, 12, "no packet"), (4, 0, "no packet"), (20, -1, "no packet")]
)
def test_aedat3_refuses_what_is_no_packet(tmp_path: Path, place: int, value: int, what: str) -> None:
    content = bytearray(write.aedat3([(5, 1, 2, 1)]))
    struct.pack_into("<i", content, len(content) - 36 + place, value)
    with pytest.raises(DataError, match=what):
        read(put(tmp_path, CASES["aedat3"], bytes(content)), REPAIR)


@pytest.mark.parametrize("name", ["aedat3", "aedat4"])
def test_two_cameras_in_a_file_are_refused(name: str, tmp_path: Path) -> None:
    first = CASES[name].write([(5, 1, 2, 1)])
    if name == "aedat3":
        both = first + write.aedat3([(6, 1, 2, 1)], source=2).split(b"#!END-HEADER\r\n")[1]
    else:
        # an interrupted recording has no table behind its packets
        body = write.aedat4_packet([(6, 1, 2, 1)])
        both = write.aedat4([(5, 1, 2, 1)], closed=False) + struct.pack("<ii", 7, len(body)) + body
    with pytest.raises(DataError, match="mixes"):
        read(put(tmp_path, CASES[name], both), REPAIR)


def test_aedat3_without_the_end_of_its_header_is_refused(tmp_path: Path) -> None:
    content = write.aedat3([(5, 1, 2, 1)]).replace(b"#!END-HEADER\r\n", b"")
    with pytest.raises(DataError, match="no end"):
        read(put(tmp_path, CASES["aedat3"], content), REPAIR)


# ------------------------------------------------------------------------------------------------ AEDAT 4


@pytest.mark.parametrize(
    ("package", "code"), [("lz4.frame", 1), ("lz4.frame", 2), ("zstandard", 3), ("zstandard", 4)]
)
def test_aedat4_unpacks_its_packets(tmp_path: Path, package: str, code: int) -> None:
    module = pytest.importorskip(package)
    pack = module.compress
    case, events = CASES["aedat4"], clip(CASES["aedat4"], 40)
    whole = write.aedat4(events, 20, code, pack)
    assert tuples(read(put(tmp_path, case, whole))[0]) == events
    outcomes = set()
    for place in range(len(write.aedat4([], 1, code, pack)), len(whole), 7):
        for content in (whole[:place], whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :]):
            outcomes.add(or_none(put(tmp_path, case, content), REPAIR) is None)
    assert outcomes == {True, False}


@pytest.mark.parametrize(("package", "code"), [("lz4", 1), ("zstandard", 3)])
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, code: int) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    path = put(tmp_path, CASES["aedat4"], write.aedat4([(1, 2, 3, 1)], compression=code))
    with pytest.raises(EnvironmentLacksError, match=f"package {package} ") as caught:
        read(path)
    assert f"pip install {package}" in caught.value.hint


def test_an_aedat4_that_was_never_closed_is_repaired(tmp_path: Path) -> None:
    case, events = CASES["aedat4"], clip(CASES["aedat4"])
    path = put(tmp_path, case, write.aedat4(events, closed=False))
    with pytest.raises(DataError, match="cut short"):
        read(path)
    (recording,) = read(path, REPAIR)
    assert tuples(recording) == events
    assert (recording.repairs.truncated, recording.repairs.lost_bytes) == (1, 0)


@pytest.mark.parametrize("body", [b"", b"\0" * 6, struct.pack("<I", 99) + b"\0" * 20])
def test_an_aedat4_packet_that_is_shorter_than_it_says_is_refused(tmp_path: Path, body: bytes) -> None:
    whole = write.aedat4([(1, 2, 3, 1)], closed=False) + struct.pack("<ii", 0, len(body)) + body
    with pytest.raises(DataError, match="shorter than it says"):
        read(put(tmp_path, CASES["aedat4"], whole), REPAIR)


# ------------------------------------------------------------------------------------------------ Prophesee


def test_the_older_header_names_of_a_raw_file_are_read(tmp_path: Path) -> None:
    head = "% date 2023-03-29\n% format EVT3;height=240;width=320\n"
    (recording,) = read(put(tmp_path, CASES["evt3"], write.evt3([(5, 319, 239, 1)], head)))
    assert recording.sensor == (240, 320)
    (unknown,) = read(put(tmp_path, CASES["evt2"], write.evt2([(5, 30, 20, 1)], "% evt 2.0\n% end\n")))
    assert unknown.sensor == (31, 31)


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("evt2", b"% evt 2.1\n% end\n1234", "EVT 2.1"),
        ("evt2", b"% date 2020\n% end\n1234", "without `% evt`"),
        ("evt2", b"% evt 2.0\n% endianness big\n% end\n1234", "big-endian"),
        ("dat", b"% Version 1\n\x00\x0812345678", "version 1"),
        ("dat", b"% Version 2\n\x0e\x0812345678", "type 14"),
        ("dat", b"% Version 2\n\x0c\x1012345678", "16 bytes"),
        ("dat", b"% Width 0\n% Height 4\n\x0c\x0812345678", "sensor is 0x4"),
        ("event stream", b"Event Stream\x01\x00\x00\x01\x40\x01\xf0\x0012345", "version 1"),
        ("event stream", b"Event Stream\x02\x00\x00\x04\x40\x01\xf0\x0012345", "type 4"),
        ("event stream", b"Event Stream\x02\x00\x00\x01\x00\x00\xf0\x0012345", "sensor is 0x240"),
    ],
)
def test_what_a_header_says_and_nobody_reads_is_refused(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    with pytest.raises(DataError, match=what):
        read(put(tmp_path, CASES[name], content), REPAIR)


@pytest.mark.parametrize("name", ["evt2", "evt3"])
def test_events_before_the_first_time_are_left_out(name: str, tmp_path: Path) -> None:
    whole = CASES[name].write([(70, 5, 6, 1)])
    head, body = whole.split(b"% end\n")
    early = write.evt3_words((2, 8), (0, 3), (2, 9)) if name == "evt3" else struct.pack("<I", 9 << 11)
    (recording,) = read(put(tmp_path, CASES[name], head + b"% end\n" + early + body))
    assert tuples(recording) == [(0, 5, 6, 1)]


def test_the_clock_of_evt3_runs_over_and_goes_on(tmp_path: Path) -> None:
    events = [(2**24 - 5, 1, 2, 1), (2**24 + 7, 3, 4, 0), (2**25 - 1, 7, 8, 0), (2**25 + 4096, 5, 6, 1)]
    (recording,) = read(put(tmp_path, CASES["evt3"], write.evt3(events)))
    assert tuples(recording, 2**24 - 5) == events


def _evt3_by_hand(words: list[tuple[int, int]]) -> list[write.Event]:
    """The definition, one word at a time."""
    out: list[write.Event] = []
    row = high = None
    low = base = polarity = laps = 0
    for kind, value in words:
        if kind == 0:
            row = value & 0x7FF
        elif kind == 3:
            base, polarity = value & 0x7FF, value >> 11
        elif kind == 6:
            low = value
        elif kind == 8:
            # a quarter of the range, or less, over the end of the counter
            laps += high is not None and value - high <= 1024 - 4096
            low = low if value == high else 0
            high = value
        elif kind in (2, 4, 5):
            pixels = [(value & 0x7FF, value >> 11)] if kind == 2 else []
            if kind != 2:
                width = 12 if kind == 4 else 8
                pixels = [(base + bit, polarity) for bit in range(width) if value >> bit & 1]
                base += width
            if row is not None and high is not None:
                out += [(laps << 24 | high << 12 | low, x, row, p) for x, p in pixels]
    return out


WORD = st.tuples(st.sampled_from([0, 2, 3, 4, 5, 5, 4, 6, 8, 7, 10, 14, 15]), st.integers(0, 4095))


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.lists(WORD, max_size=8), st.lists(WORD, max_size=60))
def test_evt3_is_the_state_machine_of_its_definition(
    early: list[tuple[int, int]], words: list[tuple[int, int]]
) -> None:
    words = [*early, (0, 7), (8, 1), (3, 5), (4, 0xFFF), *words]
    raw = decode_words(write.evt3_words(*words), 0, None)
    got = list(zip(raw.t.tolist(), raw.x.tolist(), raw.y.tolist(), raw.p.tolist(), strict=True))
    assert got == _evt3_by_hand(words)
    assert len(got) >= 12


# ------------------------------------------------------------------------------------------------ N-MNIST, text


def test_the_clock_marks_of_nmnist_add_up_and_are_no_events(tmp_path: Path) -> None:
    mark = bytes([0, 240, 0, 0, 0])
    content = (
        write.nmnist([(5, 1, 2, 1)])
        + mark
        + write.nmnist([(7, 3, 4, 0)])
        + mark
        + mark
        + write.nmnist([(9, 5, 6, 1)])
    )
    (recording,) = read(put(tmp_path, CASES["nmnist"], content), Reading(sensor=(34, 34)))
    # a mark has a time too, which counts for nothing
    assert tuples(recording) == [(5, 1, 2, 1), (8192 + 7, 3, 4, 0), (3 * 8192 + 9, 5, 6, 1)]


@pytest.mark.parametrize(
    ("content", "events"),
    [
        (b"5 1 2 1\n9 3 4 -1\n", [(0, 1, 2, 1), (4, 3, 4, 0)]),
        (b"5.0 1.0 2.0 1.0\r\n9e0 3 4 0", [(0, 1, 2, 1), (4, 3, 4, 0)]),
        (b"5\t1\t2\t1\n\n", [(0, 1, 2, 1)]),
    ],
)
def test_text_as_people_write_it(tmp_path: Path, content: bytes, events: list[write.Event]) -> None:
    assert tuples(read(put(tmp_path, CASES["text"], content))[0]) == events


@pytest.mark.parametrize("content", [b"1 2 3\n1 2 3\n", b"a b c d\n", b"1 2 3 4 5\n", b"1 2 3 0.5\n", b"1 2 3 7\n",
                                     b"nan 1 1 1\n", b"1e300 1 1 1\n", b"\xff\xfe1 2 3 1\n", b"\n\n"])  # fmt: skip
def test_text_that_is_no_list_of_events_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError):
        read(put(tmp_path, CASES["text"], content), REPAIR)
