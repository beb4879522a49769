# SPDX-License-Identifier: Apache-2.0
"""Data sets by name: ``gestures``, ``digits``, or a published one and its folder, ``nmnist:DIR``; see `SOURCES`.

A `Dataset` holds recordings, a `FrameSet` the names of images; what both offer is `Samples`.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import reduce
from itertools import chain
from operator import add
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from platformdirs import user_cache_path

from spikefold import __version__
from spikefold.config import DataConfig
from spikefold.errors import ConfigError, DataError, Issue, nearest
from spikefold.train.data.event_store import EventStore
from spikefold.train.data.events import Recording, pack_events, save_packed
from spikefold.train.data.formats.packed_stream import stream_packed
from spikefold.train.data.frames import Binning, Bins, to_frames
from spikefold.train.data.parsing.reading import Reading, TimeUnit
from spikefold.train.data.repairs import OnFault, Repairs
from spikefold.train.data.sources import class_folders, packed
from spikefold.train.data.sources.dvs128_gesture import load_gesture
from spikefold.train.data.sources.har_dvs import BRIGHTEST, DT_US, FrameSet, load_har_dvs
from spikefold.train.data.sources.parts import Parts, Progress
from spikefold.train.data.synthetic import digits, gestures
from spikefold.train.processes.pool import worker_pool

_TEST_START = 1_100_000
"""First index of generated test recordings; a multiple of 10 and of 11, far from any training index."""
_CHUNK = 11
_GENERATORS = ("digits", "gestures", "pixels", "scene")
"""Modules that decide what is generated; a change in one makes a new cache entry."""
_ANY = 2**34
"""More events than any cache has: it was written here, and claims nothing."""
_LARGEST_INPUT = 40
"""Pixels a side that automatic down-sampling keeps at most."""


class Samples(Protocol):
    """What a data set offers, whether its samples are recordings or images."""

    @property
    def train(self) -> tuple[Any, ...]:
        """Samples to train on: of type `Recording` or `FrameClip`."""

    @property
    def test(self) -> tuple[Any, ...]:
        """Samples to test on."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the labels."""

    @property
    def sensor(self) -> tuple[int, int]:
        """``(H, W)`` in pixels that holds every sample."""

    @property
    def repairs(self) -> Repairs:
        """What was repaired in all samples together."""

    def labels(self, split: str) -> np.ndarray:
        """``(N,)`` int64 of ``train`` or ``test``."""


@dataclass(frozen=True)
class Dataset:
    """Recordings of both splits, and the names of the classes in the order of their labels."""

    train: tuple[Recording, ...]
    test: tuple[Recording, ...]
    classes: tuple[str, ...]

    @property
    def sensor(self) -> tuple[int, int]:
        """``(H, W)`` that holds every recording."""
        sizes = [r.sensor for r in chain(self.train, self.test)]
        return max(h for h, _ in sizes), max(w for _, w in sizes)

    @property
    def repairs(self) -> Repairs:
        """What was repaired in all recordings together."""
        return reduce(add, (r.repairs for r in chain(self.train, self.test)), Repairs())

    def labels(self, split: str) -> np.ndarray:
        """``(N,)`` int64 of ``train`` or ``test``."""
        return np.array([r.label for r in getattr(self, split)], np.int64)


def _folder(place: Path, config: DataConfig, seed: int, reading: Reading, progress: Progress) -> Parts:
    return class_folders.load_folder(place, config.test_share, seed, reading, progress)


def _gesture(place: Path, config: DataConfig, seed: int, reading: Reading, progress: Progress) -> Parts:
    return load_gesture(place, reading, progress)


def _gait(place: Path, config: DataConfig, seed: int, reading: Reading, progress: Progress) -> Parts:
    return class_folders.load_gait(place, reading, progress)


def _daily_action(place: Path, config: DataConfig, seed: int, reading: Reading, progress: Progress) -> Parts:
    return class_folders.load_daily_action(place, config.test_share, seed, reading, progress)


def _nmnist(place: Path, config: DataConfig, seed: int, reading: Reading, progress: Progress) -> Parts:
    return class_folders.load_nmnist(place, reading, progress)


def _packed(place: Path, config: DataConfig, seed: int, reading: Reading, progress: Progress) -> Parts:
    return packed.load_packed_splits(place, reading)


SOURCES: dict[str, Callable[[Path, DataConfig, int, Reading, Progress], Parts]] = {
    "npz": _packed,
    "folder": _folder,
    "dvs128gesture": _gesture,
    "gait-day": _gait,
    "gait-night": _gait,
    "dailyaction": _daily_action,
    "nmnist": _nmnist,
}
"""Loaders of recordings by the name before the colon."""
FRAME_SOURCE = "har-dvs"
"""The one source of images instead of events; see `load_frame_set`."""


def load_samples(config: DataConfig, seed: int, progress: Progress) -> Samples:
    """What a run trains and tests on: recordings, or the names of images, as the source has them.

    Raises:
        ConfigError: as `load_dataset` and `load_frame_set`.
        DataError: as they do; and a split, or a class in the training split, without a recording.
    """
    if config.source.partition(":")[0] == FRAME_SOURCE:
        return load_frame_set(config, seed)
    dataset = load_dataset(config, seed, progress)
    _check_trainable(dataset, config.source)
    return dataset


def _check_trainable(dataset: Dataset, source: str) -> None:
    """Refuse recordings that can test a network, but not train one.

    Raises:
        DataError: a split without recordings, or a class that no training recording shows.
    """
    hint = "a training needs recordings of every class, and others to test on; these can only test one"
    for split in ("train", "test"):
        if not getattr(dataset, split):
            raise DataError(f"there are no {split}ing recordings: no network can be trained", where=source, hint=hint)
    unseen = sorted(set(range(len(dataset.classes))) - set(dataset.labels("train").tolist()))
    if unseen:
        names = ", ".join(dataset.classes[label] for label in unseen[:5])
        what = f"{len(unseen)} classes have no training recording: {names}{' ...' if len(unseen) > 5 else ''}"
        raise DataError(what, where=source, hint=hint)


def reading_of(config: DataConfig) -> Reading:
    """How files are read, by the configuration.

    Raises:
        ConfigError: a sensor of more pixels than the configuration allows.
    """
    reading = Reading(
        OnFault(config.on_fault),
        config.sensor,
        TimeUnit(config.time_unit),
        config.max_events,
        config.max_pixels,
    )
    if config.sensor is not None:
        try:
            reading.check_sensor(config.sensor)
        except DataError as error:
            raise ConfigError(error.what, where="data.sensor", hint=error.hint) from error
    return reading


def load_dataset(
    config: DataConfig,
    seed: int,
    progress: Progress,
    reading: Reading | None = None,
    splits: Collection[str] = ("train", "test"),
) -> Dataset:
    """Load or generate a data set; a split of it may be empty, which is enough to test a network on it.

    Args:
        config: the source, and how its files are read.
        seed: of what is generated or split at random.
        progress: told about long work.
        reading: instead of what the configuration says.
        splits: that are wanted of a generated data set; the other one is empty then.

    Raises:
        ConfigError: an unknown source, or one of images.
        DataError: an unreadable file, an empty class, a label without a name; all unreadable files at once.
    """
    kind, _, place = config.source.partition(":")
    if kind in ("gestures", "digits") and not place:
        return _generated(kind, config, seed, progress, splits)
    if kind in SOURCES and place:
        chosen = reading or reading_of(config)
        train, test, classes = SOURCES[kind](Path(place), config, seed, chosen, progress)
        return Dataset(tuple(train), tuple(test), classes)
    if kind == FRAME_SOURCE and place:
        raise ConfigError(
            f"{kind} holds images, not events",
            where="data.source",
            hint="`spikefold train` reads them; here are recordings wanted",
        )
    known = ("gestures", "digits", *(f"{name}:DIR" for name in (*SOURCES, FRAME_SOURCE)))
    raise ConfigError(f"unknown data source {config.source!r}", where="data.source", hint=nearest(kind, known))


def load_frame_set(config: DataConfig, seed: int) -> FrameSet:
    """Load the names of a data set of images, ``har-dvs:DIR``; its clips are opened batch by batch.

    Raises:
        ConfigError: another source, or settings that are for events alone, all at once.
        DataError: as `load_har_dvs`.
    """
    kind, _, place = config.source.partition(":")
    if kind != FRAME_SOURCE or not place:
        raise ConfigError(
            f"{config.source!r} holds no images", where="data.source", hint=f"known: {FRAME_SOURCE}:DIR"
        )
    for_events = {"bins": "time", "window": "start", "clips": 1, "on_fault": "refuse"}
    issues = [
        Issue("for events, not for images", f"data.{key}", repr(getattr(config, key)), repr(only), "leave it out")
        for key, only in for_events.items()
        if getattr(config, key) != only
    ]
    if issues:
        raise ConfigError(f"{FRAME_SOURCE} holds images", where="data", issues=issues)
    return load_har_dvs(Path(place), config.test_share, seed, config.steps)


def binning_for(dataset: Samples, config: DataConfig) -> Binning:
    """The configured binning; what the configuration leaves open is chosen from sensor and durations."""
    if isinstance(dataset, FrameSet):
        return _image_binning(dataset, config)
    largest = max(dataset.sensor)
    downsample = config.downsample or -(-largest // _LARGEST_INPUT)
    learned = dataset.train or dataset.test
    typical_us = float(np.median([r.duration_us for r in learned]))
    # one more than the quotient: the last event, at the end of the duration, belongs to the clip
    dt_us = config.dt_us or int(typical_us) // config.steps + 1
    binning = Binning(dataset.sensor, downsample, dt_us, config.steps, bins=Bins(config.bins))
    most = config.max_count or int(to_frames(learned, binning).max())
    return replace(binning, max_count=most)


def _image_binning(images: FrameSet, config: DataConfig) -> Binning:
    sensor = config.sensor or images.sensor
    downsample = config.downsample or -(-max(sensor) // _LARGEST_INPUT)
    most = min(config.max_count or BRIGHTEST, BRIGHTEST)
    return Binning(sensor, downsample, config.dt_us or DT_US, config.steps, most, Bins.IMAGES)


def _generated(kind: str, config: DataConfig, seed: int, progress: Progress, splits: Collection[str]) -> Dataset:
    classes = gestures.CLASSES if kind == "gestures" else tuple(str(i) for i in range(10))
    counts = {"train": config.train, "test": config.test}
    train, test = (
        tuple(_cached(kind, split, count, seed, progress)) if split in splits else ()
        for split, count in counts.items()
    )
    return Dataset(train, test, classes)


def cache_folder() -> Path:
    """Where generated data is kept: ``SPIKEFOLD_CACHE``, or the user's cache folder."""
    chosen = os.environ.get("SPIKEFOLD_CACHE")
    return (Path(chosen) if chosen else user_cache_path("spikefold")) / "data"


def _cached(kind: str, split: str, count: int, seed: int, progress: Progress) -> list[Recording]:
    code = b"".join((Path(__file__).parent / "synthetic" / f"{name}.py").read_bytes() for name in _GENERATORS)
    version = hashlib.sha256(code + __version__.encode()).hexdigest()[:12]
    path = cache_folder() / f"{kind}-{split}-{count}-{seed}-{version}.npz"
    if path.is_file():
        with suppress(DataError):  # a damaged cache is made anew
            return _kept(path)
    starts = range(0, count, _CHUNK)
    workers = min(len(starts), os.cpu_count() or 1)
    hint = "SIGKILL is mostly lack of memory: end other programs, or ask for fewer recordings (data.train, data.test)"
    with worker_pool(workers, "a process that generates recordings", where=f"data.{split}", hint=hint) as pool:
        jobs = deque(pool.submit(_chunk, kind, split, start, min(_CHUNK, count - start), seed) for start in starts)
        store, recordings = EventStore(), list[Recording]()
        while jobs:
            recordings += store.keep_all(jobs.popleft().result())
            progress(f"generate {kind} ({split})", len(recordings), count)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_packed(path, recordings)
    except OSError as error:  # they are at hand: only the next command has to generate them again
        reason = error.strerror or str(error)
        progress(f"not kept in {path.parent} ({reason}; SPIKEFOLD_CACHE names another)", count, count)
    return recordings


def _kept(path: Path) -> list[Recording]:
    """What `save_packed` wrote, the events in a temporary file.

    Raises:
        DataError: the file is damaged.
    """
    store = EventStore()
    return [
        # named as they were made: what is told of them does not depend on whether they were in the cache
        store.keep(Recording(pack_events(raw.t, raw.x, raw.y, raw.p), raw.sensor or (1, 1), raw.label, raw.name))
        for raw in stream_packed(path, Reading(max_events=_ANY))
    ]


def _chunk(kind: str, split: str, start: int, count: int, seed: int) -> list[Recording]:
    if kind == "gestures":
        return gestures.generate(count, seed, start=start + (_TEST_START if split == "test" else 0))
    return digits.generate(count, seed, split="test" if split == "test" else "train", start=start)
