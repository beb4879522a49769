# SPDX-License-Identifier: Apache-2.0
"""`Parts`, what every source gives; and the reading of many files with all their faults named at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spikefold.errors import DataError, Issue
from spikefold.train.data.events import Recording
from spikefold.train.data.formats.raw_events import RawEvents
from spikefold.train.data.readers import Reading, finished, read, read_with

Progress = Callable[[str, int, int], None]
"""Told the task, how much is done, and of how much."""


class Parts(NamedTuple):
    """Both splits, and the names of the classes in the order of their labels."""

    train: list[Recording]
    test: list[Recording]
    classes: tuple[str, ...]


@dataclass
class Issues:
    """Faults of a data set's files, collected to be raised together."""

    where: Path
    found: list[Issue] = field(default_factory=list)

    @contextmanager
    def collecting(self, path: Path) -> Iterator[None]:
        """A block whose `DataError` becomes an issue of the file."""
        try:
            yield
        except DataError as error:
            self.found.append(Issue("readable recording", str(path), error.what, "a valid file", error.hint))

    def raise_any(self) -> None:
        """Raise what was collected.

        Raises:
            DataError: anything was.
        """
        if self.found:
            raise DataError(f"{len(self.found)} problems in the recordings", where=str(self.where), issues=self.found)


def class_names(folders: Iterable[Path]) -> tuple[str, ...]:
    """The names of all sub-folders, numbers in the order of their value: 2 before 10."""
    names = {entry.name for folder in folders for entry in folder.iterdir() if entry.is_dir()}
    return tuple(
        sorted(
            names,
            key=lambda name: [
                (part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", name)
            ],
        )
    )


def files_under(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """All files below a folder with one of the extensions, in order of their paths."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() in endings)


def read_labelled(
    files: Iterable[Path],
    label: int,
    reading: Reading,
    issues: Issues,
    reader: Callable[[Path], list[RawEvents]] | None = None,
) -> list[Recording]:
    """The recordings of files of one class; what cannot be read becomes an issue.

    Args:
        files: the files.
        label: their class.
        reading: how they are read.
        issues: takes the faults.
        reader: of their format; none: by extension and first bytes.
    """
    found: list[Recording] = []
    for path in files:
        with issues.collecting(path):
            if reader is None:
                recordings = read(path, reading)
            else:
                recordings = [finished(raw, path, reading) for raw in read_with(reader, path)]
            found += [replace(recording, label=label, name=str(path)) for recording in recordings]
    return found


def drawn_split(recordings: list[Recording], share: float, seed: tuple[int, int]) -> tuple[list[Recording], ...]:
    """(train, test) of one class: a share drawn by the seed, at least one and never all, is for testing."""
    kept = max(1, min(round(share * len(recordings)), len(recordings) - 1))
    order = np.random.default_rng(list(seed)).permutation(len(recordings))
    return [recordings[i] for i in order[kept:]], [recordings[i] for i in order[:kept]]
