# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikefold.errors import DataError
from spikefold.event_dtype import EVENT_DTYPE
from spikefold.train.data.events import Recording, load_packed, pack_events, save_packed

REAL = Path(__file__).parents[3].parent / "shared" / "data"
COLUMNS: dict[str, np.ndarray] = {
    "t": np.array([0, 5, 5, 9, 2, 3], np.uint32),
    "x": np.array([0, 1, 2, 3, 4, 5], np.uint16),
    "y": np.array([3, 2, 1, 0, 0, 3], np.uint16),
    "p": np.array([0, 1, 0, 1, 1, 0], np.uint8),
}
PACKED = COLUMNS | {"off": np.array([0, 4, 6]), "label": np.array([1, 0]), "sensor": np.array([4, 6])}


def _events(*rows: tuple[int, int, int, int]) -> np.ndarray:
    return np.array(list(rows), EVENT_DTYPE)


def _write(folder: Path, **changes: Any) -> Path:
    """A sound packed file with some keys replaced, or left out where the value is None."""
    path = folder / "some.npz"
    np.savez(path, **{key: value for key, value in (PACKED | changes).items() if value is not None})
    return path


def test_a_sound_recording_keeps_its_events_and_knows_its_duration() -> None:
    recording = Recording(_events((0, 5, 0, 1), (7, 0, 3, 0), (7, 5, 3, 1)), (4, 6), 2, "mine")
    assert recording.duration_us == 7
    assert recording.events["x"].tolist() == [5, 0, 5]
    assert Recording(_events(), (1, 1)).duration_us == 0


def test_events_of_a_recording_cannot_be_changed() -> None:
    recording = Recording(_events((0, 0, 0, 1)), (4, 6))
    with pytest.raises(ValueError, match="read-only"):
        recording.events["x"] = 1


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ((3, 6, 0, 1), "x=6, y=1 lies outside the 6x4 sensor"),
        ((3, 1, 4, 1), "x=1, y=4 lies outside the 6x4 sensor"),
        ((3, 0, 0, 2), "polarity is neither 0 nor 1"),
        ((1, 0, 0, 1), "timestamps run backwards"),
    ],
)
def test_an_impossible_event_is_refused_and_the_recording_named(row: tuple[int, int, int, int], what: str) -> None:
    with pytest.raises(DataError, match=re.escape(what)) as caught:
        Recording(_events((2, 1, 1, 0), row), (4, 6), name="mine")
    assert caught.value.where == "mine"
    assert caught.value.exit_code == 6


def test_only_the_house_dtype_is_an_event_array() -> None:
    with pytest.raises(DataError, match="dtype"):
        Recording(np.zeros((3, 4), np.int64), (4, 6))
    other = np.dtype([("t", "<u4"), ("y", "<u2"), ("x", "<u2"), ("p", "u1")])
    with pytest.raises(DataError, match="dtype"):
        Recording(np.zeros(3, other), (4, 6))


@pytest.mark.parametrize(("key", "most"), [("t", 2**32 - 1), ("x", 65_535), ("y", 65_535), ("p", 255)])
def test_a_number_that_its_field_cannot_hold_never_wraps_around(key: str, most: int) -> None:
    sound = {other: np.array([0]) for other in "txyp"}
    assert int(pack_events(**sound | {key: np.array([most])})[key][0]) == most
    for value in (-1, most + 1):
        with pytest.raises(DataError, match=f"{key} runs from {value} to {value}"):
            pack_events(**sound | {key: np.array([value])})


@given(st.lists(st.lists(st.tuples(*(st.integers(0, n) for n in (2**32 - 1, 5, 3, 1))), max_size=6), max_size=4))
def test_packing_and_reading_back_changes_nothing(tmp_path_factory: pytest.TempPathFactory, clips: list) -> None:  # type: ignore[type-arg]
    recordings = [Recording(_events(*sorted(rows)), (4, 6), i - 1, f"clip {i}") for i, rows in enumerate(clips)]
    path = tmp_path_factory.mktemp("packed") / "some.npz"
    save_packed(path, recordings)
    back = load_packed(path)
    assert [r.events.tobytes() for r in back] == [r.events.tobytes() for r in recordings]
    assert [(r.sensor, r.label) for r in back] == [(r.sensor, r.label) for r in recordings]
    assert [r.name for r in back] == [f"some.npz:{r.name}" for r in recordings]
    assert [entry.name for entry in path.parent.iterdir()] == ["some.npz"], "a scratch file is left"


def test_no_recording_at_all_is_a_valid_file(tmp_path: Path) -> None:
    save_packed(tmp_path / "none.npz", [])
    assert load_packed(tmp_path / "none.npz") == []


def test_a_sensor_that_the_file_does_not_name_is_the_tightest_square(tmp_path: Path) -> None:
    assert {r.sensor for r in load_packed(_write(tmp_path, sensor=None))} == {(6, 6)}
    assert {r.sensor for r in load_packed(_write(tmp_path, sensor=None), (9, 8))} == {(9, 8)}


def test_sound_file(tmp_path: Path) -> None:
    """The base of the broken ones below."""
    first, second = load_packed(_write(tmp_path))
    assert (first.label, second.label) == (1, 0)
    assert first.events.tobytes() == pack_events(*(COLUMNS[key][:4] for key in "txyp")).tobytes()
    assert second.events["t"].tolist() == [2, 3]


@pytest.mark.parametrize("key", ["x", "y", "p", "t", "off", "label"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    path = _write(tmp_path, **{key: None})
    with pytest.raises(DataError, match=f"lack the keys {key}\n") as caught:
        load_packed(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"off": np.array([0, 4, 7])},
        {"off": np.array([0, 4, 5])},
        {"off": np.array([1, 4, 6])},
        {"off": np.array([0, 7, 6])},
        {"off": np.array([0, 6])},
        {"off": np.array([], np.int64)},
        {"off": np.array(6)},
        {"off": np.array([0.0, 4.0, 6.0])},
        {"off": np.array(["0", "4", "6"])},
        {"label": np.array([0, 1, 2])},
        {"label": np.array(0)},
        {"label": np.array(["a", "b"])},
        {"x": COLUMNS["x"][:5]},
        {"x": COLUMNS["x"].reshape(6, 1)},
        {"x": COLUMNS["x"] + 10},
        {"x": COLUMNS["x"].astype(np.int64) + 65536},
        {"y": COLUMNS["y"].astype(np.int64) - 1},
        {"p": COLUMNS["p"] + 1},
        {"p": COLUMNS["p"].astype(np.int64) + 256},
        {"t": COLUMNS["t"][::-1]},
        {"t": COLUMNS["t"].astype(np.int64) + 2**32},
        {"t": np.full(6, np.nan)},
        {"name": np.array(["only one"])},
        {"sensor": np.array([4])},
        {"sensor": np.array("4x6")},
        {"t": np.array([{"an": "object"}] * 6, object)},
        {"extra": np.array([None, {}], object)},
    ],
    ids=lambda changes: "-".join(f"{key}:{np.array2string(value)[:20]}" for key, value in changes.items()),
)
def test_contents_that_make_no_recordings_are_refused(tmp_path: Path, changes: dict[str, np.ndarray]) -> None:
    path = _write(tmp_path, **changes)
    with pytest.raises(DataError) as caught:
        load_packed(path)
    assert path.name in str(caught.value)


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _flipped(path: Path) -> None:
    """Bytes in the middle of a compressed member."""
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 3, len(content) // 3 + 40):
        content[place] ^= 0x55
    path.write_bytes(content)


def _text(path: Path) -> None:
    path.write_text("this is no archive")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.arange(4))


def _zip_of_text(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for key in PACKED:
            archive.writestr(key, "no array")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [_truncated, _flipped, _text, _empty, _array, _zip_of_text, _folder, Path.unlink])
def test_a_damaged_file_is_named_and_never_a_traceback(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = tmp_path / "some.npz"
    rng = np.random.default_rng(0)
    events = np.zeros(3000, EVENT_DTYPE)
    events["x"], events["t"] = rng.integers(0, 6, 3000), np.sort(rng.integers(0, 10**6, 3000))
    save_packed(path, [Recording(events, (4, 6))])
    damage(path)
    with pytest.raises(DataError) as caught:
        load_packed(path)
    assert caught.value.where == str(path)


def test_no_single_wrong_byte_gives_anything_but_a_data_error(tmp_path: Path) -> None:
    path, rng = tmp_path / "some.npz", np.random.default_rng(1)
    events = np.zeros(400, EVENT_DTYPE)
    events["x"], events["t"] = rng.integers(0, 6, 400), np.sort(rng.integers(0, 10**6, 400))
    save_packed(path, [Recording(events, (4, 6))])
    whole, refused = path.read_bytes(), 0
    for place in rng.integers(0, len(whole), 200):
        content = bytearray(whole)
        content[place] ^= rng.integers(1, 256)
        path.write_bytes(content)
        try:
            (back,) = load_packed(path)
            assert back.events.tobytes() == events.tobytes()
        except DataError:
            refused += 1
    assert refused > 150


@pytest.mark.data
@pytest.mark.skipif(not REAL.exists(), reason="shared/data is absent: no real recordings to read")
def test_real_recordings_are_read_with_their_known_numbers() -> None:
    digits = load_packed(REAL / "nmnist" / "test.npz", (34, 34))
    assert len(digits) == 100
    assert {r.label for r in digits} == set(range(10))
    gestures = load_packed(REAL / "dvs_gesture_10" / "recordings.npz", (128, 128))
    assert len(gestures) == 10
    assert all(1_300_000 < r.duration_us < 1_500_000 for r in gestures)
