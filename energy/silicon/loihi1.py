# SPDX-License-Identifier: Apache-2.0
"""Copies of one network on a Loihi 1: the form of the power model, rest + running + operations, held against logs.

Spikes were not recorded, so a copy is the unit of activity. Each run is predicted from the others by a straight line
through the powers above rest: what is left at no copy is the power of running whatever happens.
"""

from __future__ import annotations

from collections.abc import Iterator

from scipy import stats

from spikefold.energy.silicon.verdict import Prediction

COPIES_MW = {0: 78.0, 1: 78.2, 2: 80.5, 4: 83.9, 6: 87.8, 8: 91.4, 10: 95.3}
"""Power above rest by the number of copies. The run without a copy has a rate of its own, and is in no fit."""


def line(left_out: int | None = None) -> tuple[float, float]:
    """Power of running in mW, and of one copy, by all runs with a copy but one."""
    runs = {copies: mw for copies, mw in COPIES_MW.items() if copies and copies != left_out}
    found = stats.linregress(list(runs), list(runs.values()))
    return float(found.intercept), float(found.slope)


def predictions() -> Iterator[tuple[str, Prediction]]:
    """Of each run its power above rest, from the others."""
    for copies in COPIES_MW:
        running, each = line(left_out=copies)
        value = running + each * copies
        how = f"{running:.1f} mW running and {each:.3f} mW a copy, from the other runs"
        yield f"keyword-spotting/dynamic-copies-{copies}", Prediction(value, value, how)
