# SPDX-License-Identifier: Apache-2.0
"""The six networks of Yao et al. on a Speck: what bounds the price of an operation, and what spikes alone predict.

Network: Input-32C3S1-32C3S2-32C3S1-AP4-32FC-Output. A spike has most synapses inside a map that a 3x3 convolution of
stride 1 reads (32 channels times 9 taps), and fewest in the dense layer of 32, which feeds one output a class. Spikes
of the output feed nothing; they are taken to be none of the published ones, and input events to be among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from spikefold.energy.silicon.price_interval import MeasuredNetwork, PriceInterval, price_interval
from spikefold.energy.silicon.verdict import Prediction

WINDOW_S = Fraction(54, 100)
REST_MW = (Fraction(339, 1000), Fraction(42, 100))
"""Lowest and highest of three published boards, RAM and LOGIC rails."""
MOST = 32 * 3 * 3
CLASSES = {"gesture": 11, "gait-day": 20, "gait-night": 20}
_TABLE_1 = (
    ("gesture", "vanilla", "9.5", "1.0"),
    ("gesture", "dynamic", "3.8", "0.4"),
    ("gait-day", "vanilla", "16.1", "2.9"),
    ("gait-day", "dynamic", "7.3", "1.2"),
    ("gait-night", "vanilla", "46.8", "3.3"),
    ("gait-night", "dynamic", "12.3", "1.5"),
)
"""Task, network, power in mW, spikes in millions."""


def networks() -> tuple[MeasuredNetwork, ...]:
    """The six rows of Table 1."""
    return tuple(
        MeasuredNetwork(f"{task}-{kind}", Fraction(mw), int(Fraction(millions) * 10**6), CLASSES[task], MOST)
        for task, kind, mw, millions in _TABLE_1
    )


def interval() -> PriceInterval:
    """The prices that agree with all six rows."""
    return price_interval(networks(), REST_MW, WINDOW_S)


def predictions() -> Iterator[tuple[str, Prediction]]:
    """Of each row its power by the price that the other five allow; of each task the change by spikes alone."""
    rows = networks()
    for row in rows:
        others = price_interval([one for one in rows if one is not row], REST_MW, WINDOW_S)
        rate = Fraction(row.spikes, 10**9) / WINDOW_S
        low = REST_MW[0] + others.low_pj * row.fewest * rate
        high = REST_MW[0] + others.running_mw + others.high_pj * row.most * rate
        how = f"{float(others.low_pj):.3g} to {float(others.high_pj):.3g} pJ an operation, from the five other rows"
        yield f"speck-yao/power-{row.name}", Prediction(float(low), float(high), how)
    found = {row.name: row for row in rows}
    for task in CLASSES:
        vanilla, dynamic = found[f"{task}-vanilla"], found[f"{task}-dynamic"]
        above = (vanilla.power_mw - REST_MW[1]) * Fraction(dynamic.spikes, vanilla.spikes)
        change = 100 * float((REST_MW[1] + above) / vanilla.power_mw - 1)
        how = "rest, and the rest of the vanilla network's power in proportion to the spikes"
        yield f"speck-yao/change-{task}", Prediction(change, change, how)
