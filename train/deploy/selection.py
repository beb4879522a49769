# SPDX-License-Identifier: Apache-2.0
"""Chooses among networks so that an adaptation cannot harm: what it started from is one of them.

All are tried on training recordings that the adaptation did not train on (`trial`). Learning rates fall to nothing
towards the end of an adaptation, so the last network is the best that is expected, and a hundred recordings tell
little about single epochs: taking the best of the 4th, 6th, 7th and 8th cost .009 of accuracy on the gestures against
taking the last, and .002 on N-MNIST (means of 15 and 38 adaptations, on other training recordings). The last one is
therefore taken, unless it is less accurate than the best by more than two standard errors of the best one's share, or
than what the adaptation started from by more than `SLACK`, or neither more accurate nor sparser than that; then the
one before it, and so on. Where none is left, nothing is changed. With one standard error, and none at all where the
best had every recording right, another than the last was taken in 13 of 48 adaptations on N-MNIST, and was .004 less
accurate on a third of the recordings that neither had seen, .008 on copies of them turned and moved.

The standard error is that of Agresti and Coull, "Approximate is better than 'exact' for interval estimation of
binomial proportions" (The American Statistician 52, 1998): with two recordings more of each kind, right and wrong.

With a budget of synaptic operations only those that keep it can win; where none does, the one that needs fewest wins.
Where the float network was trained on these recordings, what the adaptation started from is flattered (by .07 on
N-MNIST, where the choice therefore fell on it although an epoch was better on others); the training therefore holds
them out too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spikefold.export.network import Network

SLACK = 0.005
"""Accuracy on the recordings held out that an adaptation may cost at most."""
BEFORE = "before"
_EXACT = 1e-9
"""More than the rounding of a difference of two shares, less than one clip of a million."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One of the networks.

    Attributes:
        name: `BEFORE`, or which epoch it is of.
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
        """The one that was chosen."""
        return best(self.candidates, self.held, self.budget)

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


def best(candidates: Sequence[Candidate], held: int, budget: float | None = None) -> Candidate:
    """The last that is as good as the best, as far as the recordings can tell, and no worse than before.

    Args:
        candidates: at least one, in the order in which they were made; if `BEFORE` is among them, it is the first.
        held: how many recordings they were tried on.
        budget: only those with at most so many synaptic operations a clip count; where none has, the one with fewest.
    """
    if budget is not None:
        within = [one for one in candidates if one.synops <= budget]
        candidates = within or [min(candidates, key=lambda one: one.synops)]
    before = candidates[0] if candidates[0].name == BEFORE else None
    highest = max(one.accuracy for one in candidates)
    least = highest - max(SLACK, 2 * standard_error(highest, held))
    if before is not None:
        least = max(least, before.accuracy - SLACK)
    good = [one for one in candidates if one.accuracy >= least - _EXACT]
    if before is None:
        return good[-1]
    better = [one for one in good if one.accuracy > before.accuracy or one.spikes < before.spikes]
    return better[-1] if better else before


def standard_error(share: float, of: int) -> float:
    """Of a share of so many recordings, as Agresti and Coull estimate it; above 0 for a share of 0 or 1 too."""
    likely = (share * of + 2) / (of + 4)
    return float((likely * (1 - likely) / (of + 4)) ** 0.5)
