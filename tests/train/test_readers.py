# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spikefold.errors import DataError
from spikefold.train.events import EVENT_DTYPE, Recording, save_packed
from spikefold.train.readers import READERS, read

COLUMNS = {"t": [0, 3, 3], "x": [0, 7, 2], "y": [4, 0, 1], "p": [1, 0, 1]}


def _single(path: Path, **changes: object) -> Path:
    np.savez(path, **{key: value for key, value in (COLUMNS | changes).items() if value is not None})  # type: ignore[arg-type]
    return path


def test_a_single_recording_is_read_with_its_sensor(tmp_path: Path) -> None:
    (recording,) = read(_single(tmp_path / "one.npz", sensor=[5, 8]))
    assert recording.sensor == (5, 8)
    assert recording.name == "one.npz"
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


@pytest.mark.parametrize("name", ["one.npy", "one", "one.aedat"])
def test_an_unknown_extension_is_refused_with_the_known_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="no reader for") as caught:
        read(tmp_path / name)
    assert ".npz" in caught.value.hint


def test_a_reader_is_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(READERS, ".mine", lambda path: [Recording(np.empty(0, EVENT_DTYPE), (1, 1), name=path.stem)])
    assert read(tmp_path / "a.MINE")[0].name == "a"
