# SPDX-License-Identifier: Apache-2.0
"""`Parts`, what every source gives; and the reading of many files with all their faults named at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spikefold.errors import DataError, Issue
from spikefold.train.data.event_store import EventStore
from spikefold.train.data.events import Recording
from spikefold.train.data.parsing.reading import Reading, size_of
from spikefold.train.data.readers import Read, finished, read, read_with

Progress = Callable[[str, int, int], None]
"""A function that is called during long work with the name of the task, and how many of how many parts are done."""
CLASS_LIST = "classes.txt"
"""The file beside recordings that names the classes in the order of their labels, one a line."""
_LIKE = 5
"""Files with the same fault that are named one by one; the rest of them is counted."""
_MOST_LIST = 1 << 20
"""Bytes of a list of classes."""


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
            what = f"{len(self.found)} problems in the recordings"
            raise DataError(what, where=str(self.where), issues=few_of_a_kind(self.found))


def few_of_a_kind(issues: Sequence[Issue]) -> list[Issue]:
    """The first issues of each kind, and behind them how many more of it there are.

    Issues are of a kind where they differ only in the file, and in the numbers of what was found.
    """
    kinds: dict[tuple[str, ...], list[Issue]] = {}
    for issue in issues:
        kind = tuple(re.sub(r"\d+", "0", text) for text in (issue.rule, issue.got, issue.limit, issue.hint))
        kinds.setdefault(kind, []).append(issue)
    left = {id(issue) for alike in kinds.values() for issue in alike[:_LIKE]}
    shown = [issue for issue in issues if id(issue) in left]
    for alike in kinds.values():
        if len(alike) > _LIKE:
            first, more = alike[0], len(alike) - _LIKE
            where = f"and {more:,} more like {first.where}"
            shown.append(Issue(first.rule, where, first.got, first.limit, "the same is to be done there"))
    return shown


def listed_classes(folder: Path) -> tuple[str, ...] | None:
    """The classes that a folder's `CLASS_LIST` names, in the order of their labels; None where there is none.

    Raises:
        DataError: it cannot be read, or names a class twice or none.
    """
    path = folder / CLASS_LIST
    if not path.exists():
        return None
    hint = "one name of a class a line, in the order of the labels"
    if size_of(path) > _MOST_LIST:
        raise DataError("the list of classes is too long", where=str(path), hint=hint)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the list of classes: {error}", where=str(path), hint=hint) from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not names or len(set(names)) < len(names):
        raise DataError(f"{len(names)} classes, {len(set(names))} different", where=str(path), hint=hint)
    return names


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
    """All files below a folder with one of the extensions, in order of their paths.

    Pipes and devices with such a name are among them: whoever reads them refuses them by name.
    """
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in endings and not path.is_dir())


def read_labelled(
    files: Iterable[Path],
    label: int,
    reading: Reading,
    issues: Issues,
    store: EventStore,
    reader: Read | None = None,
) -> list[Recording]:
    """The recordings of files of one class; what cannot be read becomes an issue.

    Args:
        files: the files.
        label: their class.
        reading: how they are read.
        issues: takes the faults.
        store: takes the events.
        reader: of their format; none: by extension and first bytes.
    """
    found: list[Recording] = []
    for path in files:
        with issues.collecting(path):
            if reader is None:
                recordings = read(path, reading)
            else:
                found_raw = read_with(reader, path, reading)
                recordings = [recording for raw in found_raw for recording in finished(raw, path, reading)]
            found += [store.keep(replace(recording, label=label, name=str(path))) for recording in recordings]
    return found


def drawn_split(recordings: list[Recording], share: float, seed: tuple[int, int]) -> tuple[list[Recording], ...]:
    """(train, test) of one class: a share drawn by the seed, at least one and never all, is for testing.

    The parts of a recording that was cut stay together, for they are of one scene.
    """
    whole: list[list[Recording]] = []
    for recording in recordings:
        if recording.part and whole:
            whole[-1].append(recording)
        else:
            whole.append([recording])
    if not share:
        return recordings, []
    kept = max(1, min(round(share * len(whole)), len(whole) - 1))
    order = np.random.default_rng(list(seed)).permutation(len(whole))
    chosen = ([whole[i] for i in order[kept:]], [whole[i] for i in order[:kept]])
    return tuple([recording for parts in side for recording in parts] for side in chosen)
