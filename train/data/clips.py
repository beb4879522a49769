# SPDX-License-Identifier: Apache-2.0
"""What a training reads: the same clips in every epoch (`ClipSet`), or clips cut from recordings anew (`Slices`).

What a network is tested on are `Windows`. Images that do not fit in memory are
`spikefold.train.data.image_clips.ImageClips`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from spikefold.errors import ConfigError, DataError, SpikefoldError
from spikefold.train.data.augment import event_drop, geometric, geometric_change
from spikefold.train.data.events import Recording
from spikefold.train.data.frames import Binning, Bins, check_sensors, cut, cut_moved, to_frames, window
from spikefold.train.data.sources.har_dvs import FrameClip


class Clips(Protocol):
    """Labelled clips, batch by batch."""

    @property
    def labels(self) -> np.ndarray:
        """``(N,)`` int64."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(T, C, H, W)`` of one clip."""

    def __len__(self) -> int: ...

    def batch(self, chosen: np.ndarray, epoch: int) -> np.ndarray:
        """Frames ``(T, N, C, H, W)``, uint16, of the chosen clips; equal for equal arguments."""

    def fingerprint(self) -> str:
        """Equal for equal data: a training that was interrupted goes on with the data it began with."""


@dataclass(frozen=True)
class ClipSet:
    """Frames ``(T, N, C, H, W)`` uint16 and labels ``(N,)`` of one split.

    Raises:
        SpikefoldError: they do not go together.
    """

    frames: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if self.frames.ndim != 5 or self.frames.shape[1] != len(self.labels):
            raise SpikefoldError(f"{self.frames.shape} frames do not go with {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(T, C, H, W)`` of one clip."""
        return self.frames.shape[0], *self.frames.shape[2:]

    def first(self, count: int) -> ClipSet:
        """The first ``count`` clips."""
        return ClipSet(self.frames[:, :count], self.labels[:count])

    def only(self, chosen: np.ndarray) -> ClipSet:
        """The chosen clips, by index."""
        return ClipSet(np.take(self.frames, chosen, axis=1), self.labels[chosen])

    def batch(self, chosen: np.ndarray, epoch: int) -> np.ndarray:
        """Frames ``(T, N, C, H, W)``, uint16, of the chosen clips, the same in every epoch."""
        return np.take(self.frames, chosen, axis=1)

    def fingerprint(self) -> str:
        """SHA-256 over all counts and labels."""
        digest = hashlib.sha256(f"{self.frames.shape}".encode())
        digest.update(np.ascontiguousarray(self.frames).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Part:
    """Some clips of a set that are in memory together.

    Attributes:
        first: number of the first of them in the set.
        clips: their frames and labels.
        recordings: that the frames were cut from; None of images.
    """

    first: int
    clips: ClipSet
    recordings: Sequence[Recording] | None

    @property
    def numbers(self) -> np.ndarray:
        """Of the clips in the set, ``(N,)`` int64."""
        return self.first + np.arange(len(self.clips))


def parts_of(
    samples: Sequence[Recording | FrameClip],
    binning: Binning,
    each: int,
    *,
    labels: np.ndarray | None = None,
    span: range | None = None,
) -> Iterator[Part]:
    """The first clip of each recording, or each sample of images, so many at a time.

    Args:
        samples: the set.
        binning: of a clip.
        each: how many clips of the set are in memory together.
        labels: instead of those of the samples, ``(N,)`` int64.
        span: numbers of the clips that are wanted; None for all.

    Raises:
        DataError: as `to_frames`; an image that cannot be opened.
    """
    span = range(len(samples)) if span is None else span
    for start in range(span.start, span.stop, each):
        numbers = range(start, min(start + each, span.stop))
        chosen = [samples[number] for number in numbers]
        told = np.array([one.label for one in chosen], np.int64) if labels is None else labels[list(numbers)]
        recordings = [one for one in chosen if isinstance(one, Recording)]
        if len(recordings) == len(chosen):
            yield Part(start, ClipSet(to_frames(recordings, binning), told), recordings)
            continue
        frames = np.empty((binning.steps, len(chosen), *binning.shape), np.uint16)
        for place, sample in enumerate(chosen):
            if isinstance(sample, FrameClip):
                frames[:, place] = sample.cut(binning)
        yield Part(start, ClipSet(frames, told), None)


def over_classes(labels: np.ndarray, count: int) -> np.ndarray:
    """Which clips are compared: the first of each class, then the second of each, and so on, at most ``count``.

    Recordings often lie class by class, so that the first 20 would all be of one.

    Returns:
        Indices into ``labels``; of their first n, as many classes as n allows.
    """
    turn = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        turn[mine] = np.arange(len(mine))
    return np.lexsort((labels, turn))[:count]


@dataclass(frozen=True, eq=False)
class Slices:
    """Clips that are cut from their recordings in every epoch, and augmented on the raw events.

    All that is drawn for a clip follows from the seed, the epoch and its index: neither the order of batches nor the
    number of processes nor an interruption changes it. A recording shorter than a clip is a clip with empty bins at
    its end; a window in which nothing happens is a clip of zeros. Time counts from the start of the window (in the
    published code from its first event).

    Attributes:
        recordings: with labels.
        binning: of a clip.
        seed: of everything drawn.
        anywhere: a clip starts at a random moment; else with the recording.
        augment: ``"eventdrop"``, ``"geometric"`` or ``"none"``, see `spikefold.train.data.augment`.

    Raises:
        DataError: a recording has no event, or a larger sensor than the network.
        ConfigError: random windows, or EventDrop's of time, of clips that are cut by number of events.
    """

    recordings: Sequence[Recording]
    binning: Binning
    seed: int
    anywhere: bool
    augment: str

    def __post_init__(self) -> None:
        check_sensors(self.recordings, self.binning)
        if empty := [r.name for r in self.recordings if not len(r.events)]:
            raise DataError(f"{len(empty)} recordings have no event", where=empty[0], hint="remove them")
        if self.anywhere and self.binning.bins is Bins.COUNT:
            raise ConfigError(
                "bins with equally many events span the whole recording; there is no window to draw",
                where="data.window",
                hint='data.window = "start", or data.bins = "time"',
            )

    def __len__(self) -> int:
        return len(self.recordings)

    @property
    def labels(self) -> np.ndarray:
        """``(N,)`` int64."""
        return np.array([r.label for r in self.recordings], np.int64)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(T, C, H, W)`` of one clip."""
        return self.binning.steps, *self.binning.shape

    def batch(self, chosen: np.ndarray, epoch: int) -> np.ndarray:
        """Frames ``(T, N, C, H, W)``, uint16, of the chosen recordings, as they are cut in this epoch."""
        frames = np.zeros((self.binning.steps, len(chosen), *self.binning.shape), np.uint16)
        for place, index in enumerate(chosen):
            frames[:, place] = self._clip(int(index), epoch)
        return frames

    def _clip(self, index: int, epoch: int) -> np.ndarray:
        recording, rng = self.recordings[index], np.random.default_rng([self.seed, epoch, index])
        start_us = int(rng.integers(latest_start_us(recording, self.binning) + 1)) if self.anywhere else 0
        events = window(recording.events, self.binning, start_us)
        if self.augment == "geometric" and self.binning.bins is Bins.TIME:
            return cut_moved(events, self.binning, geometric_change(len(events), recording.sensor, rng))
        if self.augment == "geometric":
            events = geometric(events, recording.sensor, rng)
        if self.augment == "eventdrop":
            by_count = self.binning.bins is Bins.COUNT
            clip_us = recording.duration_us + 1 if by_count else self.binning.clip_us
            events = event_drop(events, recording.sensor, clip_us, rng)
        return cut(events, self.binning)

    def fingerprint(self) -> str:
        """SHA-256 over how clips are cut and each recording's label, number of events, duration and sensor."""
        digest = hashlib.sha256(f"{self.binning} {self.anywhere} {self.augment}\n".encode())
        for r in self.recordings:
            digest.update(f"{r.label} {len(r.events)} {r.duration_us} {r.sensor}\n".encode())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Windows:
    """Evenly spaced clips of each recording: what a network is tested on.

    Window ``j`` of ``K`` starts at ``j D / K`` for a recording of duration ``D``, but not so late that it would reach
    beyond the end; windows overlap where ``K`` of them are longer than the recording. Source: BICLab/ASA-SNN,
    ``sample_test``. With one window it is the start of the recording. A sample of images is one clip.

    Attributes:
        recordings: with labels; or samples of images, opened when their frames are asked for.
        binning: of a clip.
        each: K, clips of one recording.

    Raises:
        DataError: a recording's sensor is larger than the network's.
        ConfigError: several windows of clips that are cut by number of events, or of images.
    """

    recordings: Sequence[Recording | FrameClip]
    binning: Binning
    each: int = 1

    def __post_init__(self) -> None:
        check_sensors([r for r in self.recordings if isinstance(r, Recording)], self.binning)
        if self.each > 1 and self.binning.bins is Bins.COUNT:
            raise ConfigError(
                "bins with equally many events span the whole recording, which is one clip",
                where="data.clips",
                hint='data.clips = 1, or data.bins = "time"',
            )
        if self.each > 1 and self.binning.bins is Bins.IMAGES:
            raise ConfigError("a sample of images is one clip", where="data.clips", hint="data.clips = 1")

    def __len__(self) -> int:
        return len(self.recordings)

    @property
    def labels(self) -> np.ndarray:
        """``(N,)`` int64, one a recording."""
        return np.array([r.label for r in self.recordings], np.int64)

    def frames(self, chosen: Sequence[int]) -> np.ndarray:
        """Frames ``(T, N * each, C, H, W)``, uint16: the windows of the first chosen recording, then the next's."""
        shape = (self.binning.steps, len(chosen) * self.each, *self.binning.shape)
        frames, place = np.zeros(shape, np.uint16), 0
        for index in chosen:
            for clip in self._clips(self.recordings[index]):
                frames[:, place] = clip
                place += 1
        return frames

    def _clips(self, recording: Recording | FrameClip) -> Iterator[np.ndarray]:
        if isinstance(recording, FrameClip):
            yield recording.cut(self.binning)
            return
        for start_us in starts_us(recording, self.binning, self.each):
            yield cut(window(recording.events, self.binning, start_us), self.binning)


def latest_start_us(recording: Recording, binning: Binning) -> int:
    """The last moment from which a clip still ends with the recording; 0 where it is no longer than a clip."""
    return max(0, recording.duration_us + 1 - binning.clip_us)


def starts_us(recording: Recording, binning: Binning, count: int) -> list[int]:
    """Where each of ``count`` evenly spaced clips starts, see `Windows`."""
    latest = latest_start_us(recording, binning)
    return [min(j * recording.duration_us // count, latest) for j in range(count)]
