# SPDX-License-Identifier: Apache-2.0
"""An archive that is read recording by recording gives what it gives as a whole, damage included."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikefold.errors import DataError
from spikefold.train.data.formats import packed_stream
from spikefold.train.data.formats.npz_file import read_npz
from spikefold.train.data.formats.packed_stream import stream_packed
from spikefold.train.data.parsing.raw_events import RawEvents
from spikefold.train.data.parsing.reading import Reading

RNG = np.random.default_rng(0)
SOUND: dict[str, Any] = {
    "t": np.concatenate([np.sort(RNG.integers(0, 10**6, count)) for count in (300, 1, 700)]).astype(np.uint32),
    "x": RNG.integers(0, 90, 1001).astype(np.uint16),
    "y": RNG.integers(0, 60, 1001).astype(np.uint16),
    "p": RNG.integers(0, 2, 1001).astype(np.uint8),
    "off": np.array([0, 300, 301, 1001]),
    "label": np.array([2, 0, 1]),
}


def _same(one: RawEvents, other: RawEvents) -> bool:
    about = [{key: value for key, value in vars(raw).items() if key not in "txyp"} for raw in (one, other)]
    return about[0] == about[1] and all(np.array_equal(getattr(one, key), getattr(other, key)) for key in "txyp")


@pytest.mark.parametrize(
    ("changes", "streams"),
    [
        ({}, True),
        ({"name": np.array(["a", "b", "c"])}, True),
        ({"sensor": np.array([60, 90])}, True),
        ({"t": SOUND["t"].astype(np.int64)}, True),
        ({"off": np.array([0, 0, 301, 1001])}, True),
        ({"p": np.where(SOUND["p"] == 0, 255, 1).astype(np.uint8)}, False),
        ({"p": SOUND["p"].astype(np.int8) * 2 - 1}, False),
        ({"p": SOUND["p"].astype(bool)}, False),
        ({"t": SOUND["t"] / 2}, False),
    ],
    ids=["plain", "names", "sensor", "wide", "empty one", "off is 255", "off is -1", "booleans", "halves"],
)
def test_it_gives_what_the_whole_gives(
    changes: dict[str, Any], streams: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some.npz"
    np.savez_compressed(path, **(SOUND | changes))
    expected = read_npz(path, Reading())
    asked: list[Path] = []

    def noted(path: Path, reading: Reading, what: str) -> Any:
        asked.append(path)
        return read_npz(path, reading, what)

    monkeypatch.setattr(packed_stream, "read_npz", noted)
    found = list(stream_packed(path, Reading()))
    assert len(found) == len(expected) == 3
    assert all(_same(one, other) for one, other in zip(found, expected, strict=True))
    assert sum(len(one.t) for one in found) == 1001
    assert bool(asked) is not streams


def test_damage_is_met_before_the_end(tmp_path: Path) -> None:
    """In a member that is stored as it is, a wrong byte is told by the checksum alone."""
    path = tmp_path / "some.npz"
    np.savez(path, **SOUND)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        places = [archive.getinfo(f"{key}.npy").header_offset + 400 for key in "txyp"]
    for place in places:
        content = bytearray(whole)
        content[place] ^= 1
        path.write_bytes(content)
        with pytest.raises(DataError):
            list(stream_packed(path, Reading()))


@pytest.mark.parametrize(
    "changes",
    [
        {"off": np.array([0, 300, 301, 1002])},
        {"off": np.array([0, 301, 300, 1001])},
        {"label": np.array([0, 1])},
        {"x": SOUND["x"][:-1]},
        {"sensor": np.array([60, 90, 3])},
        {"t": np.array([{}] * 1001, object)},
    ],
)
def test_what_makes_no_recordings_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    np.savez(path, **(SOUND | changes))
    with pytest.raises(DataError):
        list(stream_packed(path, Reading()))


def test_claims_are_checked_first(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    np.savez_compressed(path, **SOUND)
    with pytest.raises(DataError, match="claims"):
        list(stream_packed(path, Reading(max_events=10)))
