# SPDX-License-Identifier: Apache-2.0
"""The formats by name, each with its writer, and what every test of them needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spikefold.errors import DataError
from spikefold.train.data.events import Recording
from spikefold.train.data.parsing.reading import Reading
from spikefold.train.data.readers import read
from spikefold.train.data.repairs import OnFault
from tests.train.data.formats import format_writers as write

REPAIR = Reading(OnFault.REPAIR)


class Case(NamedTuple):
    suffix: str
    write: Callable[[list[write.Event]], bytes]
    sensor: tuple[int, int]
    latest_us: int = 2**31 - 1
    said: bool = True
    """The file says the sensor."""
    from_start: bool = False
    record: int = 0
    """Bytes of an event where all are equally long and none follow; 0 otherwise."""


CASES = {
    "aedat2 dvs128": Case(".aedat", write.aedat2_dvs128, (128, 128), 2**32 - 1, record=8),
    "aedat2 davis346": Case(".aedat", write.aedat2_davis346, (260, 346), 2**32 - 1, record=8),
    "aedat3": Case(".aedat", write.aedat3, (128, 128), 2**33),
    "aedat4": Case(".aedat4", write.aedat4, (260, 346), 2**52),
    "evt2": Case(".raw", write.evt2, (240, 320), 2**34 - 1),
    "evt3": Case(".raw", write.evt3, (240, 320), 2**24 - 1),
    "dat": Case(".dat", write.dat, (240, 320), 2**32 - 1, record=8),
    "event stream": Case(".es", write.event_stream, (240, 320), 2**14),
    "event stream atis": Case(".es", lambda events: write.event_stream(events, atis=True), (240, 320), 2**14),
    "nmnist": Case(".bin", write.nmnist, (34, 34), 2**23 - 1, said=False, from_start=True, record=5),
    "text": Case(".txt", write.text, (128, 128), 2**50, said=False),
}


def tuples(recording: Recording, start_us: int = 0) -> list[write.Event]:
    rows: list[write.Event] = [tuple(row) for row in recording.events[["t", "x", "y", "p"]].tolist()]
    return [(t + start_us, x, y, p) for t, x, y, p in rows]


def put(folder: Path, case: Case, content: bytes) -> Path:
    path = folder / f"a{case.suffix}"
    path.write_bytes(content)
    return path


def clip(case: Case, count: int = 9, seed: int = 3) -> list[write.Event]:
    """Events in the corners of the sensor, then random ones."""
    rng = np.random.default_rng(seed)
    height, width = case.sensor
    corners = [(0, 0, 0, 1), (0, width - 1, 0, 0), (1, 0, height - 1, 1), (1, width - 1, height - 1, 0)]
    times = np.sort(rng.integers(1, min(case.latest_us, 2**20), count)).tolist()
    rest = [(t, int(rng.integers(width)), int(rng.integers(height)), int(rng.integers(2))) for t in times]
    return corners + rest


def or_none(path: Path, reading: Reading) -> Recording | None:
    recording = refusal = None
    try:
        recording, *_ = read(path, reading)
    except DataError as error:
        refusal = error
    assert refusal is None or (refusal.where == str(path) and refusal.hint)
    return recording
