# SPDX-License-Identifier: Apache-2.0
"""Data sets by name: ``gestures``, ``digits``, ``npz:DIR`` or ``folder:DIR``."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from spikefold import __version__
from spikefold.config import DataConfig
from spikefold.errors import ConfigError, DataError, Issue, nearest
from spikefold.train import digits, gestures
from spikefold.train.events import Recording, load_packed, save_packed
from spikefold.train.frames import Binning, to_frames
from spikefold.train.readers import READERS, read

_TEST_START = 1_100_000
"""First index of generated test recordings; a multiple of 10 and of 11, far from any training index."""
_CHUNK = 11
_GENERATORS = ("digits", "gestures", "pixels", "scene")
"""Modules that decide what is generated; a change in one makes a new cache entry."""
_LARGEST_INPUT = 40
"""Pixels a side that automatic down-sampling keeps at most."""

Progress = Callable[[str, int, int], None]
"""Told the task, how much is done, and of how much."""


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

    def labels(self, split: str) -> np.ndarray:
        """``(N,)`` int64 of ``train`` or ``test``."""
        return np.array([r.label for r in getattr(self, split)], np.int64)


def load_dataset(config: DataConfig, seed: int, progress: Progress) -> Dataset:
    """Load or generate a data set.

    Raises:
        ConfigError: an unknown source.
        DataError: an unreadable file, an empty class, a label without a name; all unreadable files at once.
    """
    kind, _, place = config.source.partition(":")
    if kind in ("gestures", "digits") and not place:
        return _generated(kind, config, seed, progress)
    if kind == "npz" and place:
        return _packed(Path(place))
    if kind == "folder" and place:
        return _folder(Path(place), config.test_share, seed)
    known = ("gestures", "digits", "npz:DIR", "folder:DIR")
    raise ConfigError(f"unknown data source {config.source!r}", where="data.source", hint=nearest(kind, known))


def binning_for(dataset: Dataset, config: DataConfig) -> Binning:
    """The configured binning; what the configuration leaves open is chosen from sensor and durations."""
    largest = max(dataset.sensor)
    downsample = config.downsample or -(-largest // _LARGEST_INPUT)
    typical_us = float(np.median([r.duration_us for r in dataset.train]))
    # one more than the quotient: the last event, at the end of the duration, belongs to the clip
    dt_us = config.dt_us or int(typical_us) // config.steps + 1
    binning = Binning(dataset.sensor, downsample, dt_us, config.steps)
    most = config.max_count or int(to_frames(dataset.train, binning).max())
    return replace(binning, max_count=most)


def _packed(folder: Path) -> Dataset:
    train, test = (load_packed(folder / f"{split}.npz") for split in ("train", "test"))
    if not train or not test:
        raise DataError("no recordings", where=str(folder), hint="train.npz and test.npz need at least one each")
    classes = max(r.label for r in chain(train, test)) + 1
    unseen = sorted(set(range(classes)) - {r.label for r in train})
    if unseen or min(r.label for r in chain(train, test)) < 0:
        raise DataError(f"classes without training recordings: {unseen}", where=str(folder / "train.npz"),
                        hint="labels must run from 0 without a gap")  # fmt: skip
    sensor = Dataset(tuple(train), tuple(test), ()).sensor
    same = [tuple(replace(r, sensor=sensor) for r in split) for split in (train, test)]
    return Dataset(same[0], same[1], tuple(str(i) for i in range(classes)))


def _folder(folder: Path, test_share: float, seed: int) -> Dataset:
    """One sub-folder a class, named after it; a share of each class, drawn by the seed, is kept for testing."""
    if not folder.is_dir():
        raise DataError("no such folder", where=str(folder), hint="folder:DIR needs one sub-folder for each class")
    classes = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))
    if len(classes) < 2:
        raise DataError(f"{len(classes)} class folders", where=str(folder), hint="at least two sub-folders")
    issues: list[Issue] = []
    train: list[Recording] = []
    test: list[Recording] = []
    for label, name in enumerate(classes):
        recordings = _class_recordings(folder / name, label, issues)
        kept = max(1, min(round(test_share * len(recordings)), len(recordings) - 1))
        order = np.random.default_rng([seed, label]).permutation(len(recordings))
        test += [recordings[i] for i in order[:kept]]
        train += [recordings[i] for i in order[kept:]]
    if issues:
        raise DataError(f"{len(issues)} problems in the recordings", where=str(folder), issues=issues)
    return Dataset(tuple(train), tuple(test), classes)


def _class_recordings(folder: Path, label: int, issues: list[Issue]) -> list[Recording]:
    found: list[Recording] = []
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() in READERS)
    broken = 0
    for path in files:
        try:
            found += [replace(r, label=label, name=str(path)) for r in read(path)]
        except DataError as error:
            broken += 1
            issues.append(Issue("readable recording", str(path), error.what, "a valid file", error.hint))
    if len(found) < 2 and not broken:
        hint = f"known extensions: {', '.join(READERS)}; remove the folder if the class is not wanted"
        issues.append(Issue("recordings in a class", str(folder), str(len(found)), "at least 2", hint))
    return found


def _generated(kind: str, config: DataConfig, seed: int, progress: Progress) -> Dataset:
    classes = gestures.CLASSES if kind == "gestures" else tuple(str(i) for i in range(10))
    train = _cached(kind, "train", config.train, seed, progress)
    test = _cached(kind, "test", config.test, seed, progress)
    return Dataset(tuple(train), tuple(test), classes)


def cache_folder() -> Path:
    """Where generated data is kept: ``SPIKEFOLD_CACHE``, or the user's cache folder."""
    chosen = os.environ.get("SPIKEFOLD_CACHE")
    return (Path(chosen) if chosen else user_cache_path("spikefold")) / "data"


def _cached(kind: str, split: str, count: int, seed: int, progress: Progress) -> list[Recording]:
    code = b"".join(Path(__file__).with_name(f"{name}.py").read_bytes() for name in _GENERATORS)
    version = hashlib.sha256(code + __version__.encode()).hexdigest()[:12]
    path = cache_folder() / f"{kind}-{split}-{count}-{seed}-{version}.npz"
    if path.is_file():
        return load_packed(path)
    starts = range(0, count, _CHUNK)
    workers = min(len(starts), os.cpu_count() or 1)
    # spawned, not forked: forking a process that has started torch's threads can hang
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(_chunk, kind, split, start, min(_CHUNK, count - start), seed) for start in starts]
        recordings: list[Recording] = []
        for job in jobs:
            recordings += job.result()
            progress(f"generate {kind} ({split})", len(recordings), count)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_packed(path, recordings)
    return recordings


def _chunk(kind: str, split: str, start: int, count: int, seed: int) -> list[Recording]:
    if kind == "gestures":
        return gestures.generate(count, seed, start=start + (_TEST_START if split == "test" else 0))
    return digits.generate(count, seed, split="test" if split == "test" else "train", start=start)
