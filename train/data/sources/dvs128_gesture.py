# SPDX-License-Identifier: Apache-2.0
"""DVS128 Gesture (Amir et al., CVPR 2017), as published and in the layouts that SpikingJelly, tonic and BICLab make.

- as published (https://research.ibm.com/interactive/dvsgesture/): ``trials_to_train.txt`` and ``trials_to_test.txt``
  name ``.aedat`` files (AEDAT 3.1); beside each a ``*_labels.csv`` gives class, start and end of its gestures.
- SpikingJelly: ``events_np/train/LABEL/*.npz`` and ``events_np/test/LABEL/*.npz``.
- tonic: ``ibmGestureTrain/USER/LABEL.npy`` and ``ibmGestureTest/USER/LABEL.npy``, columns x, y, p, t, milliseconds.
- BICLab (ASA-SNN, MA-SNN): ``train/*.hdf5`` and ``test/*.hdf5``, the label inside.

A gesture is cut out by its start (included) and end (not), and its time counts from its first event, as BICLab does.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from spikefold.errors import DataError, Issue
from spikefold.train.data.event_store import EventStore
from spikefold.train.data.events import Recording
from spikefold.train.data.formats.aedat3 import decode_aedat3
from spikefold.train.data.formats.npy_file import read_npy
from spikefold.train.data.parsing.clocks import set_back
from spikefold.train.data.parsing.raw_events import RawEvents
from spikefold.train.data.parsing.reading import Reading, TimeUnit, whole_file
from spikefold.train.data.readers import finished, format_of, read, read_with
from spikefold.train.data.repairs import OnFault, Repairs
from spikefold.train.data.sources.class_folders import load_split_folders
from spikefold.train.data.sources.parts import Issues, Parts, Progress, files_under, read_labelled

SENSOR = (128, 128)
CLASSES = (
    "hand clapping", "right hand wave", "left hand wave", "right arm clockwise", "right arm counter clockwise",
    "left arm clockwise", "left arm counter clockwise", "arm roll", "air drums", "air guitar", "other gestures",
)  # fmt: skip
"""``gesture_mapping.csv``, whose numbers start at 1."""
_TRIALS = ("trials_to_train.txt", "trials_to_test.txt")
_TONIC = ("ibmGestureTrain", "ibmGestureTest")


class _Gesture(NamedTuple):
    label: int
    start_us: int
    end_us: int


def load_gesture(folder: Path, reading: Reading, progress: Progress) -> Parts:
    """The data set in whichever of the four layouts the folder holds.

    Raises:
        DataError: none of them; all unreadable files at once.
    """
    on_sensor = replace(reading, sensor=reading.sensor or SENSOR)
    for place in (folder, folder / "DvsGesture", folder / "extract" / "DvsGesture"):
        if (place / _TRIALS[0]).is_file():
            return _as_published(place, on_sensor, progress)
    if (folder / "events_np").is_dir():
        folders = folder / "events_np" / "train", folder / "events_np" / "test"
        parts = load_split_folders(*folders, (".npz",), on_sensor, progress)
        return parts._replace(classes=_names(parts.classes, folder))
    if (folder / _TONIC[0]).is_dir():
        return _each_file([folder / name for name in _TONIC], ".npy", _tonic_file, on_sensor, progress)
    if (folder / "train").is_dir() and files_under(folder / "train", (".hdf5", ".h5")):
        return _each_file([folder / "train", folder / "test"], ".hdf5", _hdf5_file, on_sensor, progress)
    raise DataError(
        "no DVS128 Gesture",
        where=str(folder),
        hint=f"the folder of {_TRIALS[0]}, or one with events_np/, {_TONIC[0]}/ or train/*.hdf5",
    )


def _as_published(folder: Path, reading: Reading, progress: Progress) -> Parts:
    issues, store = Issues(folder), EventStore()
    splits: list[list[Recording]] = []
    for trials in _TRIALS:
        names = _lines(folder / trials)
        recordings: list[Recording] = []
        for done, name in enumerate(names):
            path = folder / name
            with issues.collecting(path):
                recordings += store.keep_all(_gestures(path, reading))
            progress(f"read {trials}", done + 1, len(names))
        splits.append(recordings)
    issues.raise_any()
    return Parts(splits[0], splits[1], CLASSES)


def _gestures(path: Path, reading: Reading) -> list[Recording]:
    """The labelled parts of one file. Faults of the file as a whole are counted with the first of them."""
    labels = _labels(path.with_name(f"{path.stem}_labels.csv"))
    format_of(path)  # a missing or empty file, in words
    (whole,) = read_with(_aedat3, path, reading)
    if reading.on_fault is OnFault.REFUSE and whole.truncated:
        finished(whole, path, reading)
    extra = Repairs(truncated=int(whole.truncated), lost_bytes=whole.lost_bytes)
    whole = replace(whole, truncated=False, lost_bytes=0)
    found: list[Recording] = []
    if reading.on_fault is OnFault.REPAIR and set_back(whole.t):
        what = "the clock was set back inside the file: its labels do not say which of the two times they mean"
        raise DataError(what, where=str(path), hint="cut the file and its labels in two, or leave it out")
    for number, gesture in enumerate(labels):
        part = whole.where((whole.t >= gesture.start_us) & (whole.t < gesture.end_us))
        if not len(part.t) and reading.on_fault is OnFault.REPAIR:
            extra += Repairs(empty=1)
            continue
        named = replace(part, label=gesture.label, name=f"gesture {number}")
        found += finished(named, path, reading)
    if not found:
        raise DataError("no labelled part holds an event", where=str(path), hint="do the labels belong to this file?")
    found[0] = replace(found[0], repairs=found[0].repairs + extra)
    return found


def _aedat3(path: Path, reading: Reading) -> list[RawEvents]:
    return [decode_aedat3(whole_file(path, reading), reading)]


def _labels(path: Path) -> list[_Gesture]:
    """The rows of a ``*_labels.csv``: class from 1, start and end in microseconds."""
    hint = "a header, then class,startTime_usec,endTime_usec with classes 1 to 11"
    try:
        rows = list(csv.reader(path.read_text(encoding="ascii").splitlines()))
        found = [_Gesture(int(row[0]) - 1, int(row[1]), int(row[2])) for row in rows[1:] if row]
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise DataError(f"cannot read the labels: {error}", where=str(path), hint=hint) from error
    wrong = [row for row in found if not (0 <= row.label < len(CLASSES) and 0 <= row.start_us < row.end_us)]
    if wrong or not found:
        what = f"{len(wrong)} of {len(found)} rows are no gesture"
        raise DataError(what, where=str(path), hint=hint)
    return found


def _each_file(
    folders: list[Path],
    ending: str,
    load: Callable[[Path, Reading, Issues], list[Recording]],
    reading: Reading,
    progress: Progress,
) -> Parts:
    """Both splits of a layout in which each file knows its label."""
    issues, store = Issues(folders[0].parent), EventStore()
    splits: list[list[Recording]] = []
    for folder in folders:
        files = files_under(folder, (ending, ".h5") if ending == ".hdf5" else (ending,)) if folder.is_dir() else []
        if not files:
            issues.found.append(Issue("recordings of a split", str(folder), "0", "at least 1", f"*{ending} files"))
        recordings: list[Recording] = []
        for path in files:
            recordings += store.keep_all(load(path, reading, issues))
        progress(f"read {folder.name}", len(files), len(files))
        splits.append(recordings)
    issues.raise_any()
    return Parts(splits[0], splits[1], CLASSES)


def _tonic_file(path: Path, reading: Reading, issues: Issues) -> list[Recording]:
    if not (path.stem.isdecimal() and int(path.stem) < len(CLASSES)):
        issues.found.append(Issue("label as file name", str(path), path.stem, "0 to 10", "tonic writes LABEL.npy"))
        return []
    in_ms = replace(reading, time_unit=TimeUnit.MILLISECONDS)
    return read_labelled([path], int(path.stem), in_ms, issues, EventStore(), partial(read_npy, order="xypt"))


def _hdf5_file(path: Path, reading: Reading, issues: Issues) -> list[Recording]:
    found: list[Recording] = []
    with issues.collecting(path):
        found = read(path, reading)
    if any(not 0 <= recording.label < len(CLASSES) for recording in found):
        issues.found.append(Issue("label in the file", str(path), str(found[0].label), "0 to 10", "key `labels`"))
    return found


def _names(labels: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """Names of classes whose folders are called by number."""
    if labels != tuple(str(i) for i in range(len(CLASSES))):
        hint = "SpikingJelly calls the folders 0 to 10"
        raise DataError(f"the class folders are {', '.join(labels)}", where=str(folder), hint=hint)
    return CLASSES


def _lines(path: Path) -> list[str]:
    try:
        names = [line.strip() for line in path.read_text(encoding="ascii").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the list of trials: {error}", where=str(path)) from error
    if not names:
        raise DataError("the list of trials is empty", where=str(path), hint="one .aedat file name a line")
    return names
