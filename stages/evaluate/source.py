# SPDX-License-Identifier: Apache-2.0
"""Chooses the recordings that a run is evaluated on, and finds the run's class of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spikefold.config import DataConfig
from spikefold.errors import DataError, Issue
from spikefold.session import Reporter
from spikefold.train.data.datasets import FRAME_SOURCE, Samples, load_dataset, load_frame_set
from spikefold.train.data.frames import Binning, Bins

Split = Literal["all", "train", "test"]
_DRAWN = ("folder", "dailyaction")
"""Sources that may have no split of their own: a share is drawn for testing where one is asked for."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """Samples with the run's classes.

    Attributes:
        samples: recordings, or samples of images.
        labels: the run's class of each, ``(N,)`` int64.
        names: of the samples, as the source has them.
        split: that they are of.
        classes: the classes of the source that the run knows, by the run's name.
        absent: classes of the run of which the source has no sample.
        left_out: samples of classes that the run does not know, by the source's name.
        repairs: what was repaired in them, in words.
    """

    samples: Sequence[Any]
    labels: np.ndarray
    names: tuple[str, ...]
    split: Split
    classes: tuple[str, ...]
    absent: tuple[str, ...]
    left_out: dict[str, int]
    repairs: str

    def tell(self, reporter: Reporter) -> None:
        """Say what is missing or extra."""
        if self.absent:
            reporter.line(f"no recording of {len(self.absent)} classes of the run: {', '.join(self.absent)}")
        for name, count in self.left_out.items():
            reporter.line(f"{count} recordings of the class {name!r}, which the run does not know, are left out")


def choose(
    config: DataConfig, seed: int, split: Split | None, classes: Sequence[str], binning: Binning, reporter: Reporter
) -> Chosen:
    """Load the recordings of a source.

    Args:
        config: the source, and how its files are read.
        seed: of what is generated, or drawn for testing.
        split: which of them; None: those for testing where the source has a split of its own, else all.
        classes: of the run, in the order of its outputs.
        binning: of the run.
        reporter: told about long work, and which classes are missing or extra.

    Raises:
        ConfigError: an unknown source.
        DataError: unreadable files, no recording of the run's classes, more classes than the run has, images for a
            network of events or the other way round.
    """
    found = _loaded(config, seed, split, binning, reporter)
    samples, taken = _split_of(found, split, config.source)
    to_run, left = _classes(found.classes, classes, {one.label for one in samples}, config.source)
    kept = [one for one in samples if one.label in to_run]
    if not kept:
        raise DataError(
            f"no recording is of a class of the run: {', '.join(found.classes)} and {', '.join(classes)}",
            where=config.source,
            hint="the classes go by name, or by number where they have none; classes.txt beside the recordings "
            "can name them",
        )
    labels = np.array([to_run[one.label] for one in kept], np.int64)
    there = set(labels.tolist())
    left_out = {found.classes[label]: sum(one.label == label for one in samples) for label in left}
    place = config.source.partition(":")[2]
    chosen = Chosen(
        kept,
        labels,
        tuple(_short(one.name, place) for one in kept),
        taken,
        tuple(name for label, name in enumerate(classes) if label in there),
        tuple(name for label, name in enumerate(classes) if label not in there),
        left_out,
        str(found.repairs),
    )
    chosen.tell(reporter)
    return chosen


def _loaded(config: DataConfig, seed: int, split: Split | None, binning: Binning, reporter: Reporter) -> Samples:
    kind = config.source.partition(":")[0]
    if (kind == FRAME_SOURCE) != (binning.bins is Bins.IMAGES):
        holds, reads = ("images", "events") if kind == FRAME_SOURCE else ("events", "images")
        hint = "evaluate it on what it was trained for"
        raise DataError(f"it holds {holds}, and the network reads {reads}", where=config.source, hint=hint)
    if kind == FRAME_SOURCE:
        return load_frame_set(config, seed)
    if kind in _DRAWN and split in (None, "all"):
        config = config.model_copy(update={"test_share": 0.0})
    wanted = ("train", "test") if split == "all" else (split or "test",)
    return load_dataset(config, seed, reporter.progress, splits=wanted)


def _split_of(found: Samples, asked: Split | None, source: str) -> tuple[list[Any], Split]:
    """The samples of a split, and which one it is."""
    split: Split = asked or ("test" if found.test else "all")
    parts = {"all": (*found.train, *found.test), "train": found.train, "test": found.test}
    samples = list(parts[split])
    if not samples:
        have = " and ".join(f"{len(parts[name])} for {name}ing" for name in ("train", "test"))
        raise DataError(f"no recording in the split {split}", where=source, hint=f"it has {have}: --split all")
    return samples, split


def _classes(
    found: Sequence[str], classes: Sequence[str], labels: set[int], source: str
) -> tuple[dict[int, int], list[int]]:
    """The run's class of each label of a source, and the labels that have none.

    Raises:
        DataError: classes without names, and more of them than the run has.
    """
    if _are_numbers(found) and (not _are_numbers(classes) or list(classes) == [str(n) for n in range(len(classes))]):
        beyond = sorted(label for label in labels if int(found[label]) >= len(classes))
        if beyond:
            issue = Issue(
                "classes", source, f"the class {found[beyond[0]]}", f"0 to {len(classes) - 1}, as the run has",
                "They have no names, so their numbers are places in the order of the run's classes.",
            )  # fmt: skip
            raise DataError(
                f"the recordings are of {len(found)} classes, the run knows {len(classes)}",
                where=source,
                issues=[issue],
                hint="evaluate the run on recordings of its own classes, or name them: classes.txt beside them",
            )
        return {label: int(found[label]) for label in labels}, []
    by_name = {_plain(name): label for label, name in enumerate(classes)}
    known = {label: by_name[_plain(found[label])] for label in labels if _plain(found[label]) in by_name}
    return known, sorted(labels - known.keys())


def _are_numbers(names: Sequence[str]) -> bool:
    return all(name.isdecimal() for name in names)


def _plain(name: str) -> str:
    """A name as it is compared: case, underscores and hyphens make no other class, nor do zeros before a number."""
    text = " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
    return str(int(text)) if text.isdecimal() else text


def _short(name: str, place: str) -> str:
    """The name of a sample without the path of its source."""
    root = str(Path(place))
    return name.removeprefix(root).lstrip("/\\:") if place and name.startswith(root) else name
