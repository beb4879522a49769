# SPDX-License-Identifier: Apache-2.0
"""Files that claim more than they hold, or are no files: refused at once, and before memory is taken for them."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from spikefold.config import DataConfig
from spikefold.errors import ConfigError, DataError, Issue
from spikefold.train.data.datasets import load_dataset
from spikefold.train.data.events import Recording, pack_events, save_packed
from spikefold.train.data.parsing.reading import MOST_KEYS, Reading
from spikefold.train.data.readers import read
from spikefold.train.data.sources.parts import few_of_a_kind
from tests.train.data.formats import format_writers as write

# what a process of the readers takes before it opens a file, and the 500 MB that a file may cost
MEASURE = """
import resource, sys, time
from pathlib import Path
from spikefold.errors import DataError
from spikefold.train.data.readers import read
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.process_time()
try:
    read(Path(sys.argv[1]))
except DataError as error:
    print("refused", error.what[:100])
spent = time.process_time() - start
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert spent < 2, spent
assert grown < 500_000, grown
"""


def _columns(count: int) -> dict[str, np.ndarray]:
    return {key: np.zeros(count, np.uint32) for key in "txyp"}


def _bomb(path: Path) -> None:
    np.savez_compressed(path, **_columns(2**24))  # type: ignore[arg-type]


def _wide_names(path: Path) -> None:
    names = np.zeros(20, "<U2000000")
    about = {"off": np.arange(21), "label": np.zeros(20, int), "name": names}
    np.savez_compressed(path, **_columns(20), **about)  # type: ignore[arg-type]


def _many_recordings(path: Path) -> None:
    count = 2**21
    about = {"off": np.zeros(count + 1, np.int64), "label": np.zeros(count, np.int64)}
    about["off"][-1] = 4
    np.savez_compressed(path, **_columns(4), **about)  # type: ignore[arg-type]


def _lying_header(path: Path) -> None:
    header = b"{'descr': '<u4', 'fortran_order': False, 'shape': (1099511627776, 4), }"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 64)


def _sparse(path: Path) -> None:
    path.write_bytes(write.dat([(1, 2, 3, 1)]))
    os.truncate(path, 2**40)


def _many_members(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(MOST_KEYS + 1):
            archive.writestr(f"{number}.npy", b"")


def _dense_vectors(path: Path) -> None:
    head = b"% evt 3.0\n% geometry 320x240\n% end\n"
    path.write_bytes(head + write.evt3_words((8, 0), (0, 1), (3, 0)) + write.evt3_words((4, 0xFFF)) * 2**18)


def _digits(path: Path) -> None:
    path.write_bytes(f"% evt 2.0\n% geometry {'9' * 5000}x{'9' * 5000}\n% end\n".encode() + b"\0" * 16)


HOSTILE = {
    "bomb.npz": _bomb,
    "names.npz": _wide_names,
    "recordings.npz": _many_recordings,
    "header.npy": _lying_header,
    "sparse.dat": _sparse,
    "members.npz": _many_members,
    "dense.raw": _dense_vectors,
    "digits.raw": _digits,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_claim_is_refused_within_two_seconds_and_500_megabytes(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    HOSTILE[name](path)
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "refused" in done.stdout


@pytest.mark.parametrize("header", [
    "{'descr': '<u4', 'fortran_order': False, 'shape': (300, ", "{'descr': '<u4', 'shape': (3,), }", "[" * 5000,
    "{'descr': ('x',), 'fortran_order': False, 'shape': (3,), }", "{'descr': '<u4', 'fortran_order': 7, 'shape': 3}",
    "{'descr': '<u4', 'fortran_order': False, 'shape': (" + "9" * 4999 + ",)}", "9" * 5000, "\\d", "", "\x00",
    "{'descr': [('t', '<u4'), ('t', '<u4')], 'fortran_order': False, 'shape': (3,), }",
    "{'descr': '<U0', 'fortran_order': False, 'shape': (3,), }",
    "{'descr': [('t', '<u4', (9999999999,))], 'fortran_order': False, 'shape': (3,), }",
    "{'descr': '<i3', 'fortran_order': False, 'shape': (3,), }",
    "{'descr': '<u4', 'fortran_order': False, 'shape': (-3,), }",
    "{'descr': '<u4', 'fortran_order': False, 'shape': (True, 4), }",
], ids=lambda header: header[:60])  # fmt: skip
def test_a_damaged_header_of_an_array_is_no_bug(header: str, tmp_path: Path) -> None:
    body = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"\0" * 64
    (tmp_path / "a.npy").write_bytes(body)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for key in "txyp":
            archive.writestr(f"{key}.npy", body)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError) as caught:
            read(tmp_path / name)
        assert caught.value.where == str(tmp_path / name)


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".dat", ".txt", ".h5"])
def test_pipes_devices_and_folders_are_refused_without_waiting(suffix: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    (tmp_path / f"device{suffix}").symlink_to("/dev/zero")
    for name in ("pipe", "folder", "device"):
        with pytest.raises(DataError, match="no regular file"):
            read(tmp_path / f"{name}{suffix}")


def test_a_pipe_in_a_folder_of_recordings_is_named_not_left_out(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        save_packed(tmp_path / label / "0.npz", [_recording(0), _recording(0)])
    os.mkfifo(tmp_path / "a" / "1.npz")
    with pytest.raises(DataError) as caught:
        load_dataset(DataConfig(source=f"folder:{tmp_path}"), 0, lambda *news: None)
    assert [issue.where for issue in caught.value.issues] == [str(tmp_path / "a" / "1.npz")]


def _recording(label: int, sensor: tuple[int, int] = (6, 9)) -> Recording:
    columns = (np.array([0, 90]), np.array([1, 2]), np.array([3, 4]), np.array([0, 1]))
    return Recording(pack_events(*columns), sensor, label, f"of {label}")


def _packed(folder: Path, **changes: object) -> str:
    save_packed(folder / "test.npz", [_recording(0), _recording(1)])
    with np.load(folder / "test.npz") as archive:
        arrays = dict(archive)
    np.savez(folder / "train.npz", **(arrays | changes))
    return f"npz:{folder}"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"label": [0, 2**40]}, "label is 1099511627776"),
        ({"label": [0, 60_000]}, "first is 60000: there are 2 classes"),
        ({"label": [0, -3]}, "label is -3"),
        ({"sensor": [60_000, 60_000]}, "60000x60000 pixels"),
        ({"sensor": [0, 9]}, "9x0 pixels"),
        ({"sensor": [2**62, 2**62]}, "pixels"),
        ({"off": [0, 2**40, 4]}, "offsets do not match"),
        ({"off": [0, 9, 4]}, "offsets do not match"),
    ],
    ids=str,
)
def test_a_packed_archive_may_not_claim_what_it_likes(changes: dict[str, object], what: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=what):
        load_dataset(DataConfig(source=_packed(tmp_path, **changes)), 0, lambda *news: None)


def test_a_configured_sensor_has_a_limit_that_a_setting_raises(tmp_path: Path) -> None:
    source = _packed(tmp_path)
    with pytest.raises(ConfigError, match="60000x60000"):
        load_dataset(DataConfig(source=source, sensor=(60_000, 60_000)), 0, lambda *news: None)
    raised = DataConfig(source=source, sensor=(60_000, 60_000), max_pixels=60_000**2)
    assert load_dataset(raised, 0, lambda *news: None).sensor == (60_000, 60_000)


def test_the_limit_of_events_is_a_setting(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(write.dat([(t, 1, 2, 1) for t in range(100)]))
    assert len(read(tmp_path / "a.dat", Reading(max_events=100))[0].events) == 100
    with pytest.raises(DataError, match="claim 100 events, more than the 99") as caught:
        read(tmp_path / "a.dat", Reading(max_events=99))
    assert "data.max_events" in caught.value.hint


def test_thousands_of_the_same_fault_are_a_few_and_a_count() -> None:
    issues = [Issue("readable", f"file {i}", f"{i} bytes cut", "a valid file", "copy it") for i in range(5000)]
    issues.insert(7, Issue("readable", "other", "no event", "a valid file", "remove it"))
    shown = few_of_a_kind(issues)
    assert [issue.where for issue in shown[:6]] == ["file 0", "file 1", "file 2", "file 3", "file 4", "other"]
    assert [issue.where for issue in shown[6:]] == ["and 4,995 more like file 0"]
    assert few_of_a_kind(issues[:4]) == issues[:4]
