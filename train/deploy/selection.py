# SPDX-License-Identifier: Apache-2.0
"""Chooses among networks so that an adaptation cannot harm: what it started from is one of them.

All are judged on training recordings that the adaptation did not train on. The most accurate one wins; among those
within `SLACK` of it, the one with fewest spikes. So nothing is changed unless something is better, or as good and
sparser. Where the float network was trained on these recordings, what the adaptation started from is flattered (by
.07 on N-MNIST, where the choice therefore fell on it although an epoch was better on others); hold them out of the
training too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spikefold.export.network import Network

SLACK = 0.005
"""Accuracy that fewer spikes may cost."""
_EXACT = 1e-9
"""More than the rounding of a difference of two shares, less than one clip of a million."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One of the networks.

    Attributes:
        name: ``before``, or which epoch it is of.
        accuracy: share of the recordings held out that are classified correctly.
        spikes: of all layers, a clip.
        network: the real network.
    """

    name: str
    accuracy: float
    spikes: float
    network: Network


@dataclass(frozen=True, eq=False)
class Selection:
    """What was chosen.

    Attributes:
        held: how many recordings chose.
        candidates: all networks, what the adaptation started from first.
    """

    held: int
    candidates: tuple[Candidate, ...]

    @property
    def kept(self) -> Candidate:
        """The best; of equal ones the first."""
        return best(self.candidates)

    def to_json(self) -> dict[str, object]:
        """Plain values for a report."""
        return {
            "held": self.held,
            "kept": self.kept.name,
            "candidates": [
                {"name": one.name, "accuracy": one.accuracy, "spikes": one.spikes} for one in self.candidates
            ],
        }


def best(candidates: Sequence[Candidate]) -> Candidate:
    """The one with fewest spikes of those within `SLACK` of the most accurate; of equal ones the first."""
    highest = max(one.accuracy for one in candidates)
    return min((one for one in candidates if one.accuracy >= highest - SLACK - _EXACT), key=lambda one: one.spikes)
