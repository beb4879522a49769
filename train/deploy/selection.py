# SPDX-License-Identifier: Apache-2.0
"""Chooses among networks so that an adaptation cannot harm: what it started from is one of them.

All are tried on training recordings that the adaptation did not train on (`trial`). The most accurate one wins; among
those within `SLACK` of it, the one with fewest spikes. So nothing is changed unless something is better, or as good
and sparser. With a budget of synaptic operations only those that keep it can win; where none does, the one that needs
fewest wins. Where the float network was trained on these recordings, what the adaptation started from is flattered
(by .07 on N-MNIST, where the choice therefore fell on it although an epoch was better on others); the training
therefore holds them out too.
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
        synops: synaptic operations a clip, those of the input's events among them.
        network: the real network.
    """

    name: str
    accuracy: float
    spikes: float
    synops: float
    network: Network


@dataclass(frozen=True, eq=False)
class Selection:
    """What was chosen.

    Attributes:
        held: how many recordings chose.
        how: the recordings were run ``by events`` or ``in clocked steps``.
        candidates: all networks, what the adaptation started from first.
        budget: the most synaptic operations a clip; None without a budget.
    """

    held: int
    how: str
    candidates: tuple[Candidate, ...]
    budget: float | None = None

    @property
    def kept(self) -> Candidate:
        """The best; of equal ones the first."""
        return best(self.candidates, self.budget)

    def to_json(self) -> dict[str, object]:
        """Plain values for a report."""
        return {
            "held": self.held,
            "how": self.how,
            "budget": self.budget,
            "kept": self.kept.name,
            "candidates": [
                {"name": one.name, "accuracy": one.accuracy, "spikes": one.spikes, "synops": one.synops}
                for one in self.candidates
            ],
        }


def best(candidates: Sequence[Candidate], budget: float | None = None) -> Candidate:
    """The one with fewest spikes of those within `SLACK` of the most accurate; of equal ones the first.

    Args:
        candidates: at least one.
        budget: only those with at most so many synaptic operations a clip count; where none has, the one with fewest.
    """
    if budget is not None:
        within = [one for one in candidates if one.synops <= budget]
        candidates = within or [min(candidates, key=lambda one: one.synops)]
    highest = max(one.accuracy for one in candidates)
    return min((one for one in candidates if one.accuracy >= highest - SLACK - _EXACT), key=lambda one: one.spikes)
