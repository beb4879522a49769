# SPDX-License-Identifier: Apache-2.0
"""Verdicts on a network that has no run: its accuracy against itself before rounding, and what was not asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from spikefold.energy.statistics.difference import accuracy_difference
from spikefold.hardware.simulators.accuracy import Accuracy
from spikefold.stages.report.verdicts import CHANCE, HOLDS, QUESTIONS, WORST, Line, Tone, Verdict, judged

NO_RECORDINGS = "no recordings were given"


def not_run(chip: str, why: str = NO_RECORDINGS) -> Callable[[str], Verdict]:
    """For a key of `QUESTIONS` the verdict that nothing was run, and why."""

    def verdict(key: str) -> Verdict:
        line = Line(chip, "warn", "NOT RUN", "no figure", why, f"#{key}")
        return Verdict(key, QUESTIONS[key], "warn", "NOT RUN", (line,))

    return verdict


def accuracy_on_chips(
    before: np.ndarray | None, after: Mapping[str, np.ndarray], classes: int, allowed: float
) -> Verdict:
    """How accurate a network is on each chip, in clocked steps.

    Args:
        before: whether each clip was told right before rounding, ``(N,)`` bool; None for a network that came in a
            chip's integers.
        after: by chip, and by its integers.
        classes: of the network: one that may as well be guessing is called so.
        allowed: accuracy that a chip may lose.
    """
    lines = tuple(_accuracy(chip, before, right, classes, allowed) for chip, right in after.items())
    tone = min((line.tone for line in lines), key=WORST.index)
    word = next(line.word for line in lines if line.tone == tone)
    return Verdict("accuracy", QUESTIONS["accuracy"], tone, word, lines)


def _accuracy(chip: str, before: np.ndarray | None, after: np.ndarray, classes: int, allowed: float) -> Line:
    text = f"in clocked steps, as the file has it ({len(after)} clips)"
    verdict: tuple[Tone, str] = ("good", HOLDS)
    if before is not None:
        found = accuracy_difference(before, after, paired=True)
        verdict = judged(found, allowed)
        low, high = found.interval
        text = (
            f"in clocked steps, {found.difference:+.3f} to {before.mean():.3f} before rounding "
            f"(95 % paired {low:+.3f} to {high:+.3f}, {found.clips[0]} clips)"
        )
    trained = after if before is None else before
    if Accuracy(int(trained.sum()), len(trained)).interval[0] <= 1 / classes:
        verdict = ("bad", CHANCE)
    tone, word = verdict
    return Line(chip, tone, word, f"{after.mean():.3f}", text, "#accuracy")
