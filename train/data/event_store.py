# SPDX-License-Identifier: Apache-2.0
"""Keeps the events of recordings in one temporary file, and reads them when they are asked for.

A data set is then as large in memory as the names of its recordings, however many events they have. The file lies in
the system's folder of temporary files (``TMPDIR``), has no name there, and goes with the last recording of it.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from spikefold.errors import EnvironmentLacksError
from spikefold.train.data.events import EVENT_DTYPE, Recording


class EventStore:
    """One temporary file of events."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="spikefold-", buffering=0)  # noqa: SIM115  closed by the line below
        self._events = 0
        weakref.finalize(self, self._file.close)

    def keep(self, recording: Recording) -> KeptRecording:
        """The same recording, its events in the file.

        Raises:
            EnvironmentLacksError: the file cannot grow.
        """
        first = self._events
        left = memoryview(recording.events.tobytes())
        place = first * EVENT_DTYPE.itemsize
        try:
            while left:
                written = os.pwrite(self._file.fileno(), left, place)
                left, place = left[written:], place + written
        except OSError as error:
            raise EnvironmentLacksError(
                f"events cannot be kept in a temporary file: {error.strerror or error}",
                where=tempfile.gettempdir(),
                hint="make room there, or set TMPDIR to a folder with more",
            ) from error
        self._events += len(recording.events)
        return KeptRecording(recording, self, first)

    def keep_all(self, recordings: Iterable[Recording]) -> list[Recording]:
        """Each recording, its events in the file."""
        return [self.keep(recording) for recording in recordings]

    def read(self, first: int, count: int) -> np.ndarray:
        """Events of `EVENT_DTYPE` by their place in the file, read-only."""
        size, place, parts = count * EVENT_DTYPE.itemsize, first * EVENT_DTYPE.itemsize, []
        while size:
            # one call reads 2 GB at most
            part = os.pread(self._file.fileno(), size, place)
            parts.append(part)
            size, place = size - len(part), place + len(part)
        return np.frombuffer(parts[0] if len(parts) == 1 else b"".join(parts), EVENT_DTYPE)


class KeptRecording(Recording):
    """A recording whose events lie in a file. They were checked as they came in, and are not checked again."""

    def __init__(self, recording: Recording, store: EventStore, first: int) -> None:
        about = {name: getattr(recording, name) for name in ("sensor", "label", "name", "repairs", "part")}
        place = _Place(store, first, len(recording.events), recording.duration_us)
        self.__dict__.update(about, _place=place)

    @property
    def events(self) -> np.ndarray:
        """Structured array of `EVENT_DTYPE`, sorted by ``t``, read-only; read from the file each time."""
        place: _Place = self.__dict__["_place"]
        return place.store.read(place.first, place.count)

    @property
    def duration_us(self) -> int:
        """Time of the last event in microseconds, 0 without events; nothing is read for it."""
        place: _Place = self.__dict__["_place"]
        return place.duration_us

    def on(self, sensor: tuple[int, int]) -> KeptRecording:
        """The same events on a sensor ``(H, W)`` that holds them."""
        other = object.__new__(KeptRecording)
        other.__dict__.update(self.__dict__, sensor=sensor)
        return other

    def __reduce__(self) -> tuple[type[Recording], tuple[object, ...]]:
        """For another process: a recording in memory."""
        return Recording, (self.events, self.sensor, self.label, self.name, self.repairs, self.part)


@dataclass(frozen=True)
class _Place:
    """Where the events of a recording lie, and what is told of them without reading."""

    store: EventStore
    first: int
    count: int
    duration_us: int
