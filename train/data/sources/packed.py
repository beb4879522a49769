# SPDX-License-Identifier: Apache-2.0
"""``npz:DIR``: packed recordings, ``train.npz`` and ``test.npz``, or a single archive to test a network on.

Labels are whole numbers from 0; ``classes.txt`` beside the archives names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from spikefold.errors import DataError
from spikefold.train.data.event_store import EventStore, KeptRecording
from spikefold.train.data.events import Recording
from spikefold.train.data.formats.packed_stream import stream_packed
from spikefold.train.data.parsing.reading import Reading
from spikefold.train.data.readers import finished, read_with
from spikefold.train.data.sources.parts import CLASS_LIST, Parts, listed_classes


def load_packed_splits(place: Path, reading: Reading) -> Parts:
    """Both splits of a folder; of a folder with one archive, or of an archive itself, the training split is empty.

    Raises:
        DataError: an unreadable archive, one without recordings, labels with a gap or without a name.
    """
    alone, store = _alone(place), EventStore()
    folder = place if alone is None else alone.parent
    train = [] if alone is not None else _recordings(folder / "train.npz", reading, store)
    test = _recordings(alone or folder / "test.npz", reading, store)
    if not (train or alone) or not test:
        raise DataError("no recordings", where=str(place), hint="train.npz and test.npz need at least one each")
    classes = _classes(folder, train, test)
    sizes = [recording.sensor for recording in chain(train, test)]
    sensor = max(height for height, _ in sizes), max(width for _, width in sizes)
    reading.check_sensor(sensor)
    train, test = ([recording.on(sensor) for recording in split] for split in (train, test))
    return Parts([*train], [*test], classes)


def _alone(place: Path) -> Path | None:
    """The only archive of recordings that there is; None where there should be one for training too."""
    if place.is_file():
        return place
    if (place / "train.npz").exists():
        return None
    if (place / "test.npz").exists():
        return place / "test.npz"
    archives = sorted(place.glob("*.npz")) if place.is_dir() else []
    return archives[0] if len(archives) == 1 else None


def _recordings(path: Path, reading: Reading, store: EventStore) -> list[KeptRecording]:
    def kept(path: Path, reading: Reading) -> list[KeptRecording]:
        raws = stream_packed(path, reading)
        return [store.keep(recording) for raw in raws for recording in finished(raw, path, reading)]

    return read_with(kept, path, reading)


def _classes(folder: Path, train: Sequence[Recording], test: Sequence[Recording]) -> tuple[str, ...]:
    """The names of the classes: listed in a file, or their numbers."""
    labels = {recording.label for recording in train or test}
    names = listed_classes(folder)
    # compared as sets, never counted up to a label: a damaged one can be as large as it likes
    count = len(names) if names else len(labels) if train else max(labels) + 1
    known = range(count)
    strange = sorted(label for label in labels | {r.label for r in test} if label not in known)
    if strange:
        what = f"{len(strange)} labels are no classes, the first is {strange[0]}: there are {count} classes"
        hint = f"labels must run from 0 without a gap; {CLASS_LIST} may name them"
        raise DataError(what, where=str(folder / "train.npz" if train else folder / "test.npz"), hint=hint)
    unseen = [label for label in known if label not in labels] if train else []
    if unseen:
        what = f"{len(unseen)} classes without training recordings, the first is {unseen[0]}"
        raise DataError(what, where=str(folder / "train.npz"), hint="labels must run from 0 without a gap")
    return names or tuple(str(label) for label in known)
