# SPDX-License-Identifier: Apache-2.0
"""NeuroBench's report form: by hand, from an estimate, and its own published row of Xylo."""

from __future__ import annotations

import pytest

from spikefold.energy.chip.power import chip_power
from spikefold.energy.chip.system_track import SystemTrack, system_track
from spikefold.energy.counts.types import Counts, LayerCounts
from spikefold.energy.prices.load import load_profile
from spikefold.errors import MismatchError


def test_by_hand() -> None:
    found = SystemTrack("Xylo Audio 2", (0.2, 0.2), (0.541, 0.541), 84.0, "apart", estimated=False)
    assert found.dynamic_mw == (pytest.approx(0.341), pytest.approx(0.341))
    assert found.dynamic_energy_mj[0] == pytest.approx(0.028, abs=0.001)  # as published
    noise = SystemTrack("a board", (281.8, 281.8), (275.7, 275.7), 59.0, "apart", estimated=False)
    assert noise.dynamic_energy_mj == (0, 0)
    with pytest.raises(MismatchError, match="execution time"):
        SystemTrack("x", (1, 1), None, 0.0, "apart", estimated=True)


def test_an_estimate_says_so_and_carries_its_interval() -> None:
    counts = Counts(1, 54, (LayerCounts("conv1", "binary", 9999, 8888, 10**6, 10**6, 50, 200, 64),), 10_000)
    power = chip_power(counts, load_profile("speck"))
    found = system_track(power)
    assert found.estimated
    assert found.idle_mw == pytest.approx((0.339, 0.42))
    low, high = found.dynamic_energy_mj
    assert low == pytest.approx(1e6 * 24.5e-9)
    assert high == pytest.approx(1e6 * 146.8e-9 + 3.27e-3 * 540)
    written = found.to_json()
    assert written["dynamic_energy_mj"] == [low, high]
    assert written["execution_time_ms"] == pytest.approx(540)
    unknown = system_track(chip_power(counts, load_profile("movidius"), latency_s=0.01))
    assert unknown.active_mw is unknown.dynamic_energy_mj is None
    assert unknown.to_json()["active_mw"] is None
