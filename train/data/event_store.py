# SPDX-License-Identifier: Apache-2.0
"""Keeps the events of recordings in one temporary file, and reads them when they are asked for.

A data set is then as large in memory as the names of its recordings, however many events they have. The file lies in
the system's folder of temporary files (``TMPDIR``), has no name there, and goes with the last recording of it.

A process that `multiprocessing` starts is sent the open file and not the events, so that they are there once for all
of them. Everything else that copies or pickles a recording gets one in memory, such as a worker on another machine.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.reduction import DupFd, ForkingPickler
from typing import IO, Any

import numpy as np

from spikefold.errors import EnvironmentLacksError
from spikefold.event_dtype import EVENT_DTYPE
from spikefold.train.data.events import Recording


class EventStore:
    """One temporary file of events."""

    def __init__(self) -> None:
        self._hold(tempfile.TemporaryFile(prefix="spikefold-", buffering=0))  # noqa: SIM115  closed in there

    def _hold(self, file: IO[bytes], events: int = 0) -> None:
        self._file, self._events = file, events
        weakref.finalize(self, file.close)

    @classmethod
    def received(cls, sent: Any, events: int) -> EventStore:
        """The same file in the process that it was sent to."""
        store = object.__new__(cls)
        store._hold(os.fdopen(sent.detach(), "r+b", buffering=0), events)
        return store

    def sent(self) -> tuple[Callable[..., EventStore], tuple[Any, ...]]:
        """What another process opens the same file with."""
        return EventStore.received, (DupFd(self._file.fileno()), self._events)

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
        return _with(self.__dict__ | {"sensor": sensor})

    def sent(self) -> tuple[Callable[..., KeptRecording], tuple[object, ...]]:
        """What another process makes the same recording of, its events in the same file."""
        return _with, (self.__dict__,)

    def __reduce__(self) -> tuple[type[Recording], tuple[object, ...]]:
        """For whoever has not the file: a recording in memory."""
        return Recording, (self.events, self.sensor, self.label, self.name, self.repairs, self.part)


def _with(attributes: dict[str, object]) -> KeptRecording:
    """A recording with these attributes."""
    recording = object.__new__(KeptRecording)
    recording.__dict__.update(attributes)
    return recording


ForkingPickler.register(EventStore, EventStore.sent)
ForkingPickler.register(KeptRecording, KeptRecording.sent)


@dataclass(frozen=True)
class _Place:
    """Where the events of a recording lie, and what is told of them without reading."""

    store: EventStore
    first: int
    count: int
    duration_us: int
