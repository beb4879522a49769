# SPDX-License-Identifier: Apache-2.0
"""Verdicts on a network that has no run: its accuracy against itself before rounding, and what was not asked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from spikefold.energy.statistics.difference import accuracy_difference
from spikefold.hardware.simulators.accuracy import Accuracy
from spikefold.stages.report.verdicts import CHANCE, QUESTIONS, Line, Tone, Verdict, judged

NO_RECORDINGS = "no recordings were given"


def not_run(chip: str, why: str = NO_RECORDINGS) -> Callable[[str], Verdict]:
    """For a key of `QUESTIONS` the verdict that nothing was run, and why."""

    def verdict(key: str) -> Verdict:
        line = Line(chip, "warn", "NOT RUN", "no figure", why, f"#{key}")
        return Verdict(key, QUESTIONS[key], "warn", "NOT RUN", (line,))

    return verdict


def accuracy_of(chip: str, before: np.ndarray, after: np.ndarray, classes: int, allowed: float) -> Verdict:
    """How accurate a network is on a chip, in clocked steps.

    Args:
        chip: its name.
        before: whether each clip was told right before rounding, ``(N,)`` bool.
        after: and by the chip's integers.
        classes: of the network: one that may as well be guessing is called so.
        allowed: accuracy that a chip may lose.
    """
    found = accuracy_difference(before, after, paired=True)
    guessing = Accuracy(int(before.sum()), len(before)).interval[0] <= 1 / classes
    verdict: tuple[Tone, str] = ("bad", CHANCE) if guessing else judged(found, allowed)
    tone, word = verdict
    low, high = found.interval
    text = (
        f"in clocked steps, {found.difference:+.3f} to {before.mean():.3f} before rounding "
        f"(95 % paired {low:+.3f} to {high:+.3f}, {found.clips[0]} clips)"
    )
    line = Line(chip, tone, word, f"{after.mean():.3f}", text, "#accuracy")
    return Verdict("accuracy", QUESTIONS["accuracy"], tone, word, (line,))
