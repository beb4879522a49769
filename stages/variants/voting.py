# SPDX-License-Identifier: Apache-2.0
"""Finds which recordings are right by the vote of several clips each, as in the training (``data.clips``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from spikefold.hardware.simulators.accuracy import Accuracy
from spikefold.stages.variants.listed import Runner
from spikefold.train.data.clips import Windows
from spikefold.train.evaluate import is_correct


@dataclass(frozen=True)
class Voting:
    """How the clips of a recording decide.

    Attributes:
        vote: see `is_correct`.
        at_once: clips that are run together; a recording is never split.
        classes: of the network.
    """

    vote: str
    at_once: int
    classes: int

    def right(self, run: Runner, windows: Windows, labels: np.ndarray, first: int = 0) -> np.ndarray:
        """Whether each recording is right, ``(N,)`` bool.

        Args:
            run: the network.
            windows: the clips of the recordings.
            labels: their classes.
            first: number of the first recording in its set; ties are decided by it.
        """
        found, together = [], max(1, self.at_once // windows.each)
        for start in range(0, len(windows), together):
            chosen = range(start, min(start + together, len(windows)))
            counts = run(windows.frames(chosen)).output_counts(self.classes)
            by_recording = counts.reshape(len(chosen), windows.each, self.classes)
            found.append(is_correct(by_recording, labels[list(chosen)], self.vote, first + np.array(chosen)))
        return np.concatenate(found)

    def facts(self, right: int, recordings: int, clips: int) -> dict[str, Any]:
        """The share of right recordings with its 95 % interval, as plain values."""
        found = Accuracy(right, recordings)
        return {
            "accuracy": found.share,
            "interval": list(found.interval),
            "recordings": recordings,
            "clips": clips,
            "vote": self.vote,
        }
