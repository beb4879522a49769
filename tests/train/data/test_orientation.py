# SPDX-License-Identifier: Apache-2.0
"""One scene, written in every format that can hold it, is read as the same events: the right way up, and in time."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from spikefold.train.data.events import Recording, pack_events, save_packed
from spikefold.train.data.parsing.reading import Reading
from spikefold.train.data.readers import FORMATS, read
from tests.train.data.formats import format_writers as write
from tests.train.data.formats.format_cases import CASES, tuples

# nothing is symmetric: a turned or swapped axis, or polarity, shows
SCENE: list[write.Event] = [
    (0, 0, 0, 1),
    (7, 33, 0, 0),
    (7, 0, 33, 1),
    (20, 5, 9, 0),
    (31, 33, 32, 1),
    (90, 2, 30, 0),
]
HOLDS = (34, 34)
DAVIS = "eu.seebetter.ini.chips"


def _davis(sensor: tuple[int, int], header: str) -> Callable[[Path], bytes]:
    return lambda folder: write.aedat2_davis(SCENE, sensor, header)


def _table(order: str) -> np.ndarray:
    columns = dict(zip("txyp", np.array(SCENE).T, strict=True))
    return np.stack([columns[key] for key in order], 1)


def _fields() -> np.ndarray:
    array = np.zeros(len(SCENE), [("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")])
    for key, column in zip("txyp", np.array(SCENE).T, strict=True):
        array[key] = column
    return array


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _npz(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def _packed(folder: Path) -> bytes:
    events = pack_events(*(_table("txyp").T))
    save_packed(folder / "packed.npz", [Recording(events, HOLDS, 3, "scene")])
    return (folder / "packed.npz").read_bytes()


def _h5(**nodes: object) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as out:
        for name, value in nodes.items():
            out[name.replace("__", "/")] = value
    return file.getvalue()


def _frames() -> np.ndarray:
    """The scene at one frame a millisecond: its times are the numbers of their frames."""
    frames = np.zeros((91, 2, *HOLDS), np.float32)
    for t, x, y, p in SCENE:
        frames[t, p, y, x] += 1
    return frames


COLUMNS = {key: column for key, column in zip("txyp", np.array(SCENE).T, strict=True)}
FILES: dict[str, tuple[str, Callable[[Path], bytes]]] = {
    name: (case.suffix, lambda folder, case=case: case.write(SCENE))  # type: ignore[misc]
    for name, case in CASES.items()
}
for _name, _sensor, _header in (
    ("DAVIS240C", (180, 240), f"# AEChip: {DAVIS}.davis.DAVIS240C"),
    ("DAVIS240A", (180, 240), f"# AEChip: {DAVIS}.davis.DAVIS240A"),
    ("SBret10", (180, 240), f"# AEChip: {DAVIS}.sbret10.SBret10"),
    ("DAVIS346blue", (260, 346), f"# AEChip: {DAVIS}.davis.Davis346blue"),
    ("RGBW640", (240, 320), f"# AEChip: {DAVIS}.davis.DavisRGBW640"),
    ("CDAVIS", (240, 320), f"# AEChip: {DAVIS}.davis.CDAVIS"),
    ("DAVIS640", (480, 640), f"# AEChip: {DAVIS}.davis.Davis640"),
):
    FILES[f"aedat2 {_name}"] = (".aedat", _davis(_sensor, _header))
TMPDIFF = "# AEChip: ch.unizh.ini.jaer.chip.retina.Tmpdiff128\r\n"
FILES |= {
    "aedat2 Tmpdiff128": (".aedat", lambda folder: write.aedat2_dvs128(SCENE, TMPDIFF)),
    "aedat2 ATIS": (".aedat", lambda folder: write.aedat2_atis(SCENE)),
    "npy txyp": (".npy", lambda folder: _npy(_table("txyp"))),
    "npy xypt": (".npy", lambda folder: _npy(_table("xypt"))),
    "npy fields": (".npy", lambda folder: _npy(_fields())),
    "npz": (".npz", lambda folder: _npz(**COLUMNS)),
    "npz other names": (".npz", lambda folder: _npz(**{f"{key}s": column for key, column in COLUMNS.items()})),
    "npz packed": (".npz", _packed),
    "h5 BICLab": (".hdf5", lambda folder: _h5(times=COLUMNS["t"], addrs=_table("xyp"), labels=3)),
    "h5 DSEC": (".h5", lambda folder: _h5(**{f"events__{key}": COLUMNS[key] for key in "txyp"}, t_offset=5)),
    "h5 Prophesee": (".hdf5", lambda folder: _h5(CD__events=_fields())),
    "h5 v2e": (".h5", lambda folder: _h5(events=_table("txyp").astype(np.uint32))),
    "h5 tonic": (".hdf5", lambda folder: _h5(data__0=_fields(), target__0=3)),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_the_same_scene_is_the_same_recording_in_every_format(name: str, tmp_path: Path) -> None:
    suffix, content = FILES[name]
    path = tmp_path / f"scene{suffix}"
    path.write_bytes(content(tmp_path))
    (recording,) = read(path)
    assert tuples(recording) == SCENE
    assert recording.sensor[0] >= HOLDS[0]
    assert not recording.repairs


def test_the_scene_is_written_in_every_format_that_is_read(tmp_path: Path) -> None:
    suffixes = {suffix for suffix, _ in FILES.values()}
    assert suffixes == {suffix for known in FORMATS for suffix in known.suffixes}


def test_frames_are_events_at_their_frames(tmp_path: Path) -> None:
    np.savez(tmp_path / "frames.npz", frames=_frames())
    (recording,) = read(tmp_path / "frames.npz")
    assert sorted(tuples(recording)) == sorted((1000 * t, x, y, p) for t, x, y, p in SCENE)
    assert recording.sensor == HOLDS


@pytest.mark.parametrize("name", ["event stream", "event stream atis"])
def test_a_configured_sensor_decides_before_rows_are_turned(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.es"
    path.write_bytes(CASES[name].write(SCENE))  # rows from below on 320x240
    (recording,) = read(path, Reading(sensor=(300, 320)))
    assert tuples(recording) == [(t, x, y + 60, p) for t, x, y, p in SCENE]
    assert recording.sensor == (300, 320)
