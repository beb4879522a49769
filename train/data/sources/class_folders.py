# SPDX-License-Identifier: Apache-2.0
"""One folder a class: any recordings, N-MNIST, DVS128 Gait and DailyAction-DVS.

- N-MNIST (https://www.garrickorchard.com/datasets/n-mnist): ``Train/0/*.bin``, ``Test/0/*.bin``, 34x34.
- DVS128 Gait-Day and -Night (https://github.com/zhangxiann/TPAMI_Gait_Identification): ``train/PERSON/*.txt``,
  ``test/PERSON/*.txt``, 128x128, 20 persons.
- DailyAction-DVS (Liu et al., IJCAI 2021): ``CLASS/*.aedat`` in AEDAT 2, whose header names the camera. It is
  published without a split: ``train/CLASS`` and ``test/CLASS`` are used where they are, else a share is drawn.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from spikefold.errors import DataError, Issue
from spikefold.train.data.event_store import EventStore
from spikefold.train.data.events import Recording
from spikefold.train.data.formats.npy_file import read_npy
from spikefold.train.data.parsing.reading import Reading
from spikefold.train.data.readers import read_with, suffixes
from spikefold.train.data.sources.parts import (
    CLASS_LIST,
    Issues,
    Parts,
    Progress,
    class_names,
    drawn_split,
    files_under,
    listed_classes,
    read_labelled,
)

RECORDINGS = tuple(suffix for suffix in suffixes() if suffix != ".txt")
"""Extensions of recordings in a folder of anything: a text there is more often a note than a list of events."""
NMNIST_SENSOR = (34, 34)
GAIT_SENSOR = (128, 128)


def load_folder(
    folder: Path,
    test_share: float,
    seed: int,
    reading: Reading,
    progress: Progress,
    endings: tuple[str, ...] = RECORDINGS,
) -> Parts:
    """One sub-folder a class, named after it; a share of each class, drawn by the seed, is kept for testing.

    Labels are in the order of the names, or of ``classes.txt`` where the folder has one. ``train/CLASS`` and
    ``test/CLASS`` are taken as the split that they are. With a share of 0 all recordings are for training: that is to
    test a network that exists on all of them, and a class may then have a single one.

    Raises:
        DataError: fewer than two classes; all unreadable files and classes of fewer than two recordings at once.
    """
    split = _split_under(folder)
    if split is not None:
        return load_split_folders(*split, endings, reading, progress)
    names = _classes(folder, [folder], least=2 if test_share else 1)
    needed = 2 if test_share else 1
    issues, store = Issues(folder), EventStore()
    parts = Parts([], [], names)
    for label, name in enumerate(names):
        before = len(issues.found)
        found = read_labelled(files_under(folder / name, endings), label, reading, issues, store)
        is_absent = not test_share and not (folder / name).is_dir()
        if len(found) < needed and len(issues.found) == before and not is_absent:
            hint = f"known extensions: {', '.join(endings)}; remove the folder if the class is not wanted"
            issues.found.append(
                Issue("recordings in a class", str(folder / name), str(len(found)), f"at least {needed}", hint)
            )
        if len(found) >= needed:
            train, test = drawn_split(found, test_share, (seed, label))
            parts.train.extend(train)
            parts.test.extend(test)
        progress(f"read {folder.name}", label + 1, len(names))
    issues.raise_any()
    return parts


def load_split_folders(
    train: Path, test: Path, endings: tuple[str, ...], reading: Reading, progress: Progress
) -> Parts:
    """Two folders with one sub-folder a class each.

    Raises:
        DataError: a folder is missing, fewer than two classes; all unreadable files and empty classes at once.
    """
    names = _classes(train.parent, [train, test])
    issues, store = Issues(train.parent), EventStore()
    splits: list[list[Recording]] = []
    for folder in (train, test):
        recordings: list[Recording] = []
        for label, name in enumerate(names):
            before = len(issues.found)
            found = read_labelled(files_under(folder / name, endings), label, reading, issues, store)
            if not found and len(issues.found) == before and folder is train:
                hint = f"known extensions: {', '.join(endings)}; remove the folder if the class is not wanted"
                issues.found.append(Issue("recordings in a class", str(folder / name), "0", "at least 1", hint))
            recordings += found
            progress(f"read {folder.name}", label + 1, len(names))
        splits.append(recordings)
    issues.raise_any()
    if not splits[1]:
        raise DataError("no recording for testing", where=str(test), hint=f"known extensions: {', '.join(endings)}")
    return Parts(splits[0], splits[1], names)


def load_nmnist(folder: Path, reading: Reading, progress: Progress) -> Parts:
    """N-MNIST. Raises `DataError` as `load_split_folders`."""
    train, test = _split_of(folder, "N-MNIST has Train/0 ... Train/9 and Test/0 ... Test/9 with .bin files")
    return load_split_folders(train, test, (".bin",), _on(reading, NMNIST_SENSOR), progress)


def load_gait(folder: Path, reading: Reading, progress: Progress) -> Parts:
    """DVS128 Gait, by day or by night, from its text files.

    The published training code turns them into ``train_data.npy``, arrays of Python objects: never opened.

    Raises:
        DataError: such arrays and no text files; otherwise as `load_split_folders`.
    """
    for place in (folder, folder / "origin"):
        if (place / "train").is_dir() and files_under(place / "train", (".txt",)):
            on_sensor = _on(reading, GAIT_SENSOR)
            return load_split_folders(place / "train", place / "test", (".txt",), on_sensor, progress)
    for path in sorted(folder.rglob("train_data.npy")) if folder.is_dir() else ():
        read_with(read_npy, path, reading)  # its error says why it is not opened, and how to convert it
        hint = "give the folder with train/PERSON/*.txt and test/PERSON/*.txt"
        raise DataError("one array for all recordings", where=str(path), hint=hint)
    raise DataError(
        "no text files", where=str(folder), hint="DVS128 Gait has train/PERSON/*.txt and test/PERSON/*.txt"
    )


def load_daily_action(folder: Path, test_share: float, seed: int, reading: Reading, progress: Progress) -> Parts:
    """DailyAction-DVS. Raises `DataError` as `load_folder`."""
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        return load_split_folders(folder / "train", folder / "test", (".aedat",), reading, progress)
    return load_folder(folder, test_share, seed, reading, progress, (".aedat",))


def _on(reading: Reading, sensor: tuple[int, int]) -> Reading:
    """The same reading on a known sensor; a configured one still wins."""
    return replace(reading, sensor=reading.sensor or sensor)


def _split_of(folder: Path, hint: str) -> tuple[Path, Path]:
    for train, test in (("Train", "Test"), ("train", "test")):
        if (folder / train).is_dir() and (folder / test).is_dir():
            return folder / train, folder / test
    raise DataError("no folders for training and testing", where=str(folder), hint=hint)


def _split_under(folder: Path) -> tuple[Path, Path] | None:
    """The folders ``train`` and ``test`` where a folder holds these two, with sub-folders, and no other."""
    if not folder.is_dir():
        return None
    there = {entry.name.lower(): entry for entry in folder.iterdir() if entry.is_dir()}
    if set(there) != {"train", "test"}:
        return None
    has_classes = all(any(entry.is_dir() for entry in place.iterdir()) for place in there.values())
    return (there["train"], there["test"]) if has_classes else None


def _classes(folder: Path, splits: list[Path], least: int = 2) -> tuple[str, ...]:
    missing = [place for place in splits if not place.is_dir()]
    if missing:
        raise DataError("no such folder", where=str(missing[0]), hint="one sub-folder for each class is needed")
    names = class_names(splits)
    if len(names) < least:
        raise DataError(f"{len(names)} class folders", where=str(folder), hint="at least two sub-folders")
    listed = listed_classes(folder)
    if listed is None:
        return names
    unknown = [name for name in names if name not in listed]
    if unknown:
        what = f"{len(unknown)} class folders are not listed, the first is {unknown[0]!r}"
        raise DataError(what, where=str(folder / CLASS_LIST), hint="list every class, in the order of the labels")
    return listed
