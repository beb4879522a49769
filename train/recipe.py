# SPDX-License-Identifier: Apache-2.0
"""Derives from a data set and a configuration what a network is trained on, and what chooses among its epochs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spikefold.config import Config
from spikefold.errors import ConfigError
from spikefold.train.data.clips import Clips, ClipSet, Slices, Windows
from spikefold.train.data.datasets import Samples
from spikefold.train.data.frames import Binning, Bins
from spikefold.train.data.image_clips import ImageClips
from spikefold.train.loop import CheckpointSelector

_LEAST_OF_A_CLASS = 5
"""Recordings of a class from which one is held out for the adaptation."""
PROTOCOLS = {
    "last": "the last epoch's weights",
    "validation": "the best epoch on training recordings held out",
    "paper": "the best epoch on the test set, as the published code does: its test accuracy flatters it",
}
"""How each protocol chooses the weights, in words for the report."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What a training uses.

    Attributes:
        clips: the training clips.
        selector: chooses among the epochs; None where the last one is kept.
        held_out: how many training recordings no weight is trained on: they choose among epochs, or adapted networks.
    """

    clips: Clips
    selector: CheckpointSelector | None
    held_out: int


def plan(config: Config, dataset: Samples, binning: Binning, first_clips: Callable[[], ClipSet]) -> Plan:
    """Choose training clips and selector as the configuration says.

    Args:
        config: the configuration of the run.
        dataset: the recordings or images of both splits.
        binning: how frames are made of a clip's events.
        first_clips: returns the first clip of every training recording; it is called only where these are learned,
            and never for images.

    Raises:
        ConfigError: settings do not go together, a class is too small to hold out a recording, or there are more
            images than the stages after the training can hold.
        DataError: see `Slices` and `Windows`.
    """
    images = binning.bins is Bins.IMAGES
    if images:
        _check_images(config, dataset, binning)
    elif config.data.held is not None:
        raise ConfigError("data.held is for images; recordings are held", where="data.held", hint="leave it out")
    chosen_by = held_recordings(config, dataset, binning)
    held = chosen_by.indices if chosen_by.unseen else np.array([], np.int64)
    train = np.setdiff1d(np.arange(len(dataset.train)), held)
    selector = None
    if config.train.protocol == "paper":
        selector = CheckpointSelector(Windows(dataset.test, binning, config.data.clips), config.data.vote)
    elif config.train.protocol == "validation":
        selector = CheckpointSelector(
            Windows([dataset.train[i] for i in held], binning, config.data.clips), config.data.vote
        )
    if images:
        return Plan(ImageClips([dataset.train[i] for i in train], binning), selector, len(held))
    anywhere, augment = config.data.window == "random", config.train.augment
    augment = "geometric" if augment == "auto" else augment
    if anywhere or augment != "none":
        recordings = [dataset.train[i] for i in train]
        return Plan(Slices(recordings, binning, config.seed, anywhere, augment), selector, len(held))
    return Plan(first_clips().only(train) if len(held) else first_clips(), selector, len(held))


def _check_images(config: Config, dataset: Samples, binning: Binning) -> None:
    if config.train.augment not in ("auto", "none"):
        raise ConfigError(
            "images have no events to drop or to move", where="train.augment", hint='train.augment = "none"'
        )
    for split in (dataset.train, dataset.test):  # refused now and not after hours of training
        ImageClips(split, binning).drawn(config.data.held, config.seed)


@dataclass(frozen=True, eq=False)
class Held:
    """Training recordings that choose among adapted networks, and with protocol validation among epochs before.

    Attributes:
        indices: of the recordings, sorted; empty where nothing is held out.
        unseen: whether the training of the float network leaves them out too.
    """

    indices: np.ndarray
    unseen: bool


def held_recordings(config: Config, dataset: Samples, binning: Binning) -> Held:
    """The training recordings that no network for a chip is trained on, the same for the training and the adaptation.

    With protocol ``validation`` they are those that choose the epoch, a share ``train.validation_share`` of each
    class; else a share ``adapt.held_share``, where a chip is adapted to. Protocol ``paper`` trains the float network
    on all recordings, as the published code does. Of images none is held out but by ``validation``.

    Raises:
        ConfigError: with protocol ``validation`` a class has only one recording.
    """
    labels, protocol = dataset.labels("train"), config.train.protocol
    if protocol == "validation":
        return Held(held_out(labels, config.train.validation_share, config.seed), unseen=True)
    adapted = bool(config.chips.names) and config.adapt.epochs > 0 and config.adapt.held_share > 0
    if not adapted or binning.bins is Bins.IMAGES:
        return Held(np.array([], np.int64), unseen=False)
    # a class too small to give one away gives none: few recordings are no reason to stop
    large = [label for label in np.unique(labels) if (labels == label).sum() >= _LEAST_OF_A_CLASS]
    members = np.flatnonzero(np.isin(labels, large))
    held = members[held_out(labels[members], config.adapt.held_share, config.seed)] if large else members
    return Held(held, unseen=protocol == "last")


def held_out(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Draw the indices of a share of each class, at least one and never all of a class, and sort them.

    Args:
        labels: of all recordings, ``(N,)``.
        share: of each class.
        seed: of what is drawn.

    Raises:
        ConfigError: a class has only one recording.
    """
    found = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise ConfigError(
                f"class {label} has one training recording, none can be held out",
                where="train.protocol",
                hint='train.protocol = "last", or more recordings',
            )
        count = max(1, min(round(share * len(members)), len(members) - 1))
        found.append(np.random.default_rng([seed, int(label)]).choice(members, count, replace=False))
    return np.sort(np.concatenate(found))
