# SPDX-License-Identifier: Apache-2.0
"""HDF5: what it may claim, what it may point to, and the layouts that need more than `test_readers` shows."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from spikefold.errors import DataError, EnvironmentLacksError
from spikefold.train.data.formats import hdf5_nodes
from spikefold.train.data.parsing.reading import MOST_KEYS, Reading
from spikefold.train.data.readers import read
from tests.train.data.formats.format_cases import tuples

TABLE = np.array([[0, 1, 7, 1], [10, 2, 8, 0], [20, 3, 9, 1], [45, 5, 11, 0]])
EVENTS = [tuple(row) for row in TABLE.tolist()]


def test_off_may_be_stored_as_minus_one_without_its_sign(tmp_path: Path) -> None:
    table = TABLE.astype(np.uint32)
    table[table[:, 3] == 0, 3] = 2**32 - 1
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["events"] = table
    assert tuples(read(tmp_path / "a.h5")[0]) == EVENTS


def test_the_sensor_of_prophesee_is_read(tmp_path: Path) -> None:
    array = np.zeros(len(TABLE), [("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")])
    for key, column in zip("txyp", TABLE.T, strict=True):
        array[key] = column
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["CD/events"] = array
        file.attrs["geometry"] = "1280x720"
    (recording,) = read(tmp_path / "a.hdf5")
    assert (tuples(recording), recording.sensor) == (EVENTS, (720, 1280))


def _columns(file: h5py.File, *but: str) -> None:
    for key, column in zip("txyp", TABLE.T, strict=True):
        if key not in but:
            file[key] = column


def test_events_in_another_file_are_never_read(tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        _columns(file)
    secret = tmp_path / "secret.bin"
    secret.write_bytes(TABLE[:, 0].astype("<i8").tobytes())
    assert tuples(read(other)[0]) == EVENTS, "where they are, they can be read"
    for number, kind in enumerate(("external link", "link in a group", "soft link", "virtual", "external storage")):
        path = tmp_path / f"{number}.h5"
        with h5py.File(path, "w") as file:
            if kind == "external link":
                file["events"] = h5py.ExternalLink(str(other), "/")
            elif kind == "link in a group":
                _columns(file, "t")
                file["t"] = h5py.ExternalLink(str(other), "/t")
            elif kind == "soft link":
                _columns(file.create_group("hidden"))
                file["events"] = h5py.SoftLink("/hidden")
            elif kind == "virtual":
                _columns(file, "t")
                layout = h5py.VirtualLayout((4,), "i8")
                layout[:] = h5py.VirtualSource(other, "t", (4,))
                file.create_virtual_dataset("t", layout)
            else:
                _columns(file, "t")
                file.create_dataset("t", (4,), "i8", external=[(str(secret), 0, 32)])
        with pytest.raises(DataError, match=r"another place or file|in other files"):
            read(path)


def _lazy(path: Path, count: int, **chunked: object) -> Path:
    with h5py.File(path, "w") as file:
        for key in "txyp":
            file.create_dataset(key, (count,), "u2", **({"chunks": (2**10,), "compression": "gzip"} | chunked))
    return path


def test_events_that_were_never_written_are_not_made_up(tmp_path: Path) -> None:
    path = _lazy(tmp_path / "a.h5", 2**29)
    assert path.stat().st_size < 10_000
    with pytest.raises(DataError, match="claim 536,870,912 events, more than the 1,048,576") as caught:
        read(path)
    assert "data.max_events = 536870912" in caught.value.hint
    small = _lazy(tmp_path / "b.h5", 3000)
    with pytest.raises(DataError, match="claim 3,000 events, more than the 2,999"):
        read(small, Reading(max_events=2999))
    assert len(read(small, Reading(max_events=3000))[0].events) == 3000


def test_a_chunk_is_not_unpacked_that_claims_a_gigabyte(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="chunks"):
        read(_lazy(tmp_path / "a.h5", 10, chunks=(2**29,), maxshape=(None,)))


def test_a_table_of_very_many_columns_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("times", (4,), "u1")
        file.create_dataset("addrs", (4, 2**34), "u1", chunks=(1, 2**16))
    with pytest.raises(DataError, match="bytes of arrays"):
        read(tmp_path / "a.h5")


def test_very_many_names_are_not_listed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        for number in range(MOST_KEYS + 1):
            file.create_group(f"g{number}")
    with pytest.raises(DataError, match="4,097 nodes"):
        read(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("number", "name", "hint"), [(0x8ECF, "ECF", "hdf5_ecf"), (32001, "Blosc", "pip install hdf5plugin")]
)
def test_a_filter_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, name: str, hint: str
) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        _columns(file, "t")
        file.create_dataset("t", data=TABLE[:, 0], chunks=(4,), compression="gzip")
    # the number of the filter in the file's index; the deflate filter has number 1
    monkeypatch.setattr(hdf5_nodes, "_load_plugins", lambda: None)
    monkeypatch.setattr(hdf5_nodes, "filters_of", lambda data: [(number, "")] if data.chunks else [])
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda asked: asked != number)
    with pytest.raises(EnvironmentLacksError, match=f"filter {name}, which is not installed") as caught:
        read(path)
    assert hint in caught.value.hint
    assert caught.value.where == str(path)


def test_a_file_compressed_by_blosc_is_read_where_hdf5plugin_is_installed(tmp_path: Path) -> None:
    plugin = pytest.importorskip("hdf5plugin", reason="hdf5plugin is absent: no file of DSEC can be written or read")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for key, column in zip("txyp", TABLE.T, strict=True):
            file.create_dataset(f"events/{key}", data=column, **plugin.Blosc(cname="zstd"))
    assert tuples(read(tmp_path / "a.h5")[0]) == EVENTS
