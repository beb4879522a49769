# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.errors import DataError
from spikefold.event_dtype import EVENT_DTYPE
from spikefold.train.data.events import Recording, save_packed
from spikefold.train.data.formats.npy_file import read_npy
from spikefold.train.data.parsing.checked import to_recordings
from spikefold.train.data.parsing.clocks import microseconds
from spikefold.train.data.parsing.raw_events import RawEvents
from spikefold.train.data.parsing.reading import Reading, TimeUnit
from spikefold.train.data.readers import FORMATS, Format, read, suffixes
from spikefold.train.data.repairs import OnFault, Repairs

REPAIR = Reading(OnFault.REPAIR)
COLUMNS = {"t": [0, 3, 3], "x": [0, 7, 2], "y": [4, 0, 1], "p": [1, 0, 1]}


def _single(path: Path, **changes: object) -> Path:
    np.savez(path, **{key: value for key, value in (COLUMNS | changes).items() if value is not None})  # type: ignore[arg-type]
    return path


def test_a_single_recording_is_read_with_its_sensor(tmp_path: Path) -> None:
    (recording,) = read(_single(tmp_path / "one.npz", sensor=[5, 8]))
    assert recording.sensor == (5, 8)
    assert recording.name == str(tmp_path / "one.npz")
    assert [recording.events[key].tolist() for key in "txyp"] == [COLUMNS[key] for key in "txyp"]


def test_without_a_sensor_the_tightest_square_is_taken(tmp_path: Path) -> None:
    (recording,) = read(_single(tmp_path / "one.npz"))
    assert recording.sensor == (8, 8)


def test_a_packed_file_gives_all_its_recordings(tmp_path: Path) -> None:
    clips = [Recording(np.array([(i, i, 0, 1)], EVENT_DTYPE), (4, 6), i) for i in range(3)]
    save_packed(tmp_path / "many.NPZ", clips)
    assert [int(r.events["x"][0]) for r in read(tmp_path / "many.NPZ")] == [0, 1, 2]


@pytest.mark.parametrize(
    "changes",
    [
        {"x": None},
        {"x": [0, 1]},
        {"x": [[0, 7, 2]]},
        dict.fromkeys(COLUMNS, np.array([], np.uint16)),
        {"x": np.array([0, 7, None], object)},
        {"x": [0, 70_000, 2]},
        {"x": [0, -1, 2]},
        {"x": [0, 1.5, 2]},
        {"x": ["a", "b", "c"]},
        {"t": [3, 0, 1]},
        {"p": [0, 1, 2]},
        {"sensor": [5, 7]},
        {"sensor": [5]},
        {"sensor": "5x8"},
    ],
    ids=str,
)
def test_a_recording_that_is_none_is_refused_by_name(tmp_path: Path, changes: dict[str, object]) -> None:
    path = _single(tmp_path / "one.npz", **changes)
    with pytest.raises(DataError) as caught:
        read(path)
    assert "one.npz" in caught.value.where


def test_a_file_that_is_no_archive_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "one.npz"
    for content in (b"", b"no archive", _single(tmp_path / "whole.npz").read_bytes()[:300]):
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            read(path)
        assert caught.value.where == str(path)
    with path.open("wb") as file:
        np.save(file, np.arange(3))
    with pytest.raises(DataError):
        read(path)
    with pytest.raises(DataError):
        read(tmp_path / "absent.npz")


@pytest.mark.parametrize("name", ["one.mat", "one", "one.aedat5"])
def test_an_unknown_extension_is_refused_with_the_known_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="no reader for") as caught:
        read(tmp_path / name)
    assert any(known in caught.value.hint for known in (".aedat", ".npz", ".dat"))


def test_a_file_under_a_wrong_extension_is_told_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.es"
    path.write_bytes(b"#!AER-DAT3.1\r\n#!END-HEADER\r\n")
    with pytest.raises(DataError) as caught:
        read(path)
    assert "AEDAT 3.1" in caught.value.hint


def test_a_format_is_one_entry(tmp_path: Path) -> None:
    ones = np.ones(2, np.int64)
    mine = Format("mine", (".mine",), b"MY", lambda path, _: [RawEvents(ones, ones, ones, ones, name=path.stem)])
    (tmp_path / "a.MINE").write_bytes(b"MYfile")
    (recording,) = read(tmp_path / "a.MINE", formats=(*FORMATS, mine))
    assert recording.name == f"{tmp_path / 'a.MINE'}:a"
    assert ".mine" in suffixes((*FORMATS, mine))
    assert ".mine" not in suffixes()


# ------------------------------------------------------------------------------------------------ NumPy, HDF5

TXYP = np.array([[100, 0, 4, 1], [103, 7, 0, 0], [103, 2, 1, 1]])
FIELDS = [("x", "<i2"), ("y", "<i2"), ("p", "?"), ("t", "<i8")]
EXPECTED = [(0, 0, 4, 1), (3, 7, 0, 0), (3, 2, 1, 1)]


def _structured() -> np.ndarray:
    t, x, y, p = TXYP.T
    array = np.zeros(3, FIELDS)
    array["t"], array["x"], array["y"], array["p"] = t, x, y, p
    return array


def _rows(recording: Recording) -> list[tuple[int, int, int, int]]:
    return [tuple(row) for row in recording.events[["t", "x", "y", "p"]].tolist()]


@pytest.mark.parametrize(
    "array",
    [TXYP, TXYP.astype(float), TXYP.astype(np.uint8), TXYP[:, [1, 2, 3, 0]], _structured()],
    ids=["txyp", "floats", "bytes", "xypt", "fields"],
)
def test_an_array_of_events_is_read_in_the_order_that_it_has(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    assert _rows(read(tmp_path / "a.npy")[0]) == EXPECTED


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 4), int),
        TXYP + 2,
        TXYP[:, :3],
        TXYP[0],
        TXYP + 0.5,
        np.array(["a", "b"]),
        np.zeros(3, [("x", "i2"), ("y", "i2"), ("t", "i8")]),
        np.zeros(3, [("x", "U2"), ("y", "i2"), ("t", "i8"), ("p", "i1")]),
        np.full((3, 4), np.nan),
    ],
    ids=["ambiguous", "no polarity", "three", "one", "fractions", "text", "field missing", "text field", "nan"],
)
def test_an_array_of_something_else_is_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a.npy")
    assert caught.value.where == str(tmp_path / "a.npy")


def test_milliseconds_become_the_microseconds_that_they_were(tmp_path: Path) -> None:
    t = np.arange(100_000)
    milliseconds = t / 1000
    assert np.any(np.floor(milliseconds * 1000) != t), "a case in which cutting off would be wrong"
    ones = np.ones(len(t))
    np.save(tmp_path / "a.npy", np.stack([ones, ones, ones, milliseconds], 1))
    (raw,) = read_npy(tmp_path / "a.npy", order="xypt")
    assert np.array_equal(microseconds(raw.t, TimeUnit.MILLISECONDS), t)


class _Trap:
    """Unpickled, it would leave a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (self.mark, "ran")


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    np.save(tmp_path / "a.npy", np.array([_Trap(mark)], object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", t=np.array([_Trap(mark)], object), x=[1], y=[1], p=[1])
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError) as caught:
            read(tmp_path / name)
    assert not mark.exists()
    with pytest.raises(DataError, match="pickle") as caught:
        read(tmp_path / "a.npy")
    assert "numpy.savez" in caught.value.hint
    np.load(tmp_path / "a.npy", allow_pickle=True)
    assert mark.exists(), "the trap would have worked"


def _h5(path: Path, **nodes: object) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in nodes.items():
            file[name.replace("__", "/")] = value
    return path


def test_the_layouts_of_hdf5(tmp_path: Path) -> None:
    t, x, y, p = TXYP.T
    layouts = [
        ({"times": t.astype(np.uint32), "addrs": TXYP[:, 1:].astype(np.uint8), "labels": np.uint8(4)}, 4),
        ({"times": t, "addrs": TXYP[:, 1:], "labels": [5]}, 5),
        ({"t": t, "x": x, "y": y, "p": p == 1}, -1),
        ({"events__ts": t, "events__xs": x, "events__ys": y, "events__ps": 2 * p - 1, "other": 3}, -1),
        ({"CD__events": _structured(), "label": 2}, 2),
        ({"data__0": _structured(), "target__0": 7}, 7),
    ]
    for number, (nodes, label) in enumerate(layouts):
        (recording,) = read(_h5(tmp_path / f"{number}.hdf5", **nodes))
        assert _rows(recording) == EXPECTED, nodes.keys()
        assert recording.label == label


@pytest.mark.parametrize(
    "nodes",
    [
        {"nothing": [1, 2]},
        {"times": [1, 2], "addrs": [[1, 2], [3, 4]]},
        {"times": [1, 2], "addrs": [[1, 2, 1]]},
        {"t": [1], "x": [1], "y": [1]},
        {"t": [1.5], "x": [1], "y": [1], "p": [1]},
        {"t": ["a"], "x": [1], "y": [1], "p": [1]},
        {"t": 1, "x": 1, "y": 1, "p": 1},
    ],
    ids=str,
)
def test_hdf5_of_something_else_is_refused(tmp_path: Path, nodes: dict[str, object]) -> None:
    with pytest.raises(DataError) as caught:
        read(_h5(tmp_path / "a.h5", **nodes))
    assert caught.value.where == str(tmp_path / "a.h5")


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".h5"])
def test_an_archive_cut_anywhere_is_refused(tmp_path: Path, suffix: str) -> None:
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    if suffix == ".npz":
        _single(whole)
    elif suffix == ".npy":
        np.save(whole, TXYP)
    else:
        _h5(whole, times=TXYP[:, 0], addrs=TXYP[:, 1:], labels=1)
    content = whole.read_bytes()
    assert len(read(whole)) == 1
    for end in range(0, len(content), 1 if len(content) < 1000 else 23):
        cut.write_bytes(content[:end])
        with pytest.raises(DataError):
            read(cut, Reading(OnFault.REPAIR))


# ------------------------------------------------------------------------------------------------ faults


def _raw(rows: list[tuple[int, int, int, int]], **about: object) -> RawEvents:
    t, x, y, p = np.array(rows, np.int64).reshape(-1, 4).T
    return RawEvents(t, x, y, p, **about)  # type: ignore[arg-type]


FAULTY = [
    ({"rows": [(5, 0, 0, 1), (4, 0, 0, 1), (9, 0, 0, 0)]}, "run backwards at 1 of 3", Repairs(backwards=1)),
    ({"rows": [(5, 4, 0, 1), (6, 0, 0, 1)]}, "1 of 2 events lie outside", Repairs(outside=1)),
    ({"rows": [(5, 0, 3, 1), (6, 0, 0, 1), (6, -1, 0, 1)]}, "2 of 3 events lie outside", Repairs(outside=2)),
    (
        {"rows": [(5, 0, 0, 1)], "truncated": True, "lost_bytes": 3},
        "cut short: 3 bytes",
        Repairs(truncated=1, lost_bytes=3),
    ),
]


@pytest.mark.parametrize(("faulty", "what", "repairs"), FAULTY, ids=[what for _, what, _ in FAULTY])
def test_a_fault_is_refused_or_repaired_and_counted(faulty: dict[str, object], what: str, repairs: Repairs) -> None:
    raw = _raw(**faulty, sensor=(3, 4))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=what) as caught:
        to_recordings(raw, "mine")
    assert caught.value.where == "mine"
    assert "data.on_fault" in caught.value.hint
    (recording,) = to_recordings(raw, "mine", REPAIR)
    assert recording.repairs == repairs
    assert len(recording.events) == len(raw.t) - repairs.outside


def test_repaired_events_are_those_of_the_file_in_order_of_time() -> None:
    raw = _raw([(9, 0, 0, 1), (5, 1, 1, 0), (5, 2, 2, 1), (7, 9, 0, 1), (6, 3, 0, 1)], sensor=(3, 4))
    (recording,) = to_recordings(raw, "mine", REPAIR)
    assert _rows(recording) == [(0, 1, 1, 0), (0, 2, 2, 1), (1, 3, 0, 1), (4, 0, 0, 1)]
    assert recording.repairs == Repairs(backwards=3, outside=1)


def test_events_of_one_microsecond_keep_the_order_of_the_file() -> None:
    # many: sorts that may swap equal entries do not for a few
    rows = [(i % 3, i % 7, i % 5, i % 2) for i in range(1000)]
    (recording,) = to_recordings(_raw(rows, from_start=True), "mine", REPAIR)
    assert _rows(recording) == sorted(rows, key=lambda row: row[0])
    assert recording.repairs.backwards > 600


@settings(max_examples=100, derandomize=True, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(-2, 6), st.integers(-2, 6), st.integers(0, 1)), max_size=30)
)
def test_a_repair_loses_nothing_that_fits_and_invents_nothing(rows: list[tuple[int, int, int, int]]) -> None:
    raw = _raw(rows, sensor=(4, 5), from_start=True)
    inside = [row for row in rows if 0 <= row[1] < 5 and 0 <= row[2] < 4]
    if not inside:
        with pytest.raises(DataError, match="no event"):
            to_recordings(raw, "mine", REPAIR)
        return
    (recording,) = to_recordings(raw, "mine", REPAIR)
    assert _rows(recording) == sorted(inside, key=lambda row: row[0])
    late = sum(row[0] < max(before[0] for before in inside[: i + 1]) for i, row in enumerate(inside))
    assert recording.repairs == Repairs(outside=len(rows) - len(inside), backwards=late)
    refused = bool(recording.repairs)
    try:
        (as_it_is,) = to_recordings(raw, "mine")
    except DataError:
        assert refused
    else:
        assert not refused
        assert _rows(as_it_is) == rows


@pytest.mark.parametrize("rows", [[], [(5, 9, 9, 1)], [(5, 0, 0, 2)], [(0, 0, 0, 1), (2**32, 0, 0, 1)]], ids=str)
def test_what_no_repair_helps_is_refused(rows: list[tuple[int, int, int, int]]) -> None:
    with pytest.raises(DataError) as caught:
        to_recordings(_raw(rows, sensor=(3, 4)), "mine", REPAIR)
    assert caught.value.where == "mine"


def test_a_configured_sensor_wins(tmp_path: Path) -> None:
    path = _single(tmp_path / "one.npz", sensor=[5, 8])
    assert read(path, Reading(sensor=(9, 9)))[0].sensor == (9, 9)
    with pytest.raises(DataError, match="2 of 3 events lie outside the 6x4"):
        read(path, Reading(sensor=(4, 6)))
    repaired = read(path, Reading(OnFault.REPAIR, (4, 6)))[0]
    assert repaired.repairs == Repairs(outside=2)
    assert _rows(repaired) == [(0, 2, 1, 1)]


def test_repairs_add_up_and_say_so() -> None:
    total = Repairs(1, 2, 3, 4, 5, 6) + Repairs(10, 20, 30, 40, 50, 60)
    assert total == Repairs(11, 22, 33, 44, 55, 66)
    assert str(total) == (
        "11 files cut short, of which the rest was kept, 22 bytes at their ends left out, "
        "33 late events put in order of time, 44 events outside the sensor left out, "
        "55 clips without an event left out, "
        "66 cuts where a clock was set back"
    )
    assert not Repairs()
    assert str(Repairs()) == "nothing"
    assert all(Repairs(**{key: 1}) for key in vars(Repairs()))
