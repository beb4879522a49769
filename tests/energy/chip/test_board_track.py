# SPDX-License-Identifier: Apache-2.0
"""A board's readings in NeuroBench's form: by hand, the processor alone and all rails, and where there is none."""

from __future__ import annotations

import pytest

from spikefold.energy.chip.board_track import measured_tracks
from spikefold.hardware.board import PowerMeter

METER = PowerMeter({"A": "ram", "B": "logic", "C": "pixel_analog"}, 50e-6)
POWER = [
    {"rail": "A", "idle_w": 50e-6, "active_w": 600e-6},
    {"rail": "B", "idle_w": 300e-6, "active_w": 1300e-6},
    {"rail": "C", "idle_w": 600e-6, "active_w": 640e-6},
    {"rail": "unheard of", "idle_w": 1.0, "active_w": 2.0},
]


def test_the_processor_and_the_whole_chip() -> None:
    processor, whole = measured_tracks("board:0", POWER, METER, [40_000, 60_000])
    assert (processor.system, whole.system) == ("board:0: ram + logic", "board:0: ram + logic + pixel_analog")
    assert processor.idle_mw == pytest.approx((0.35, 0.35))
    assert processor.dynamic_mw == pytest.approx((1.55, 1.55))
    assert processor.execution_time_ms == 50
    assert processor.dynamic_energy_mj == pytest.approx((0.0775, 0.0775))
    assert whole.active_mw == pytest.approx((2.54, 2.54))
    assert not processor.estimated
    assert "(measured): idle 0.35 mW, active 1.9 mW, dynamic 1.55 mW" in processor.describe()


def test_none_without_the_processors_rails_a_meter_or_time() -> None:
    assert measured_tracks("board:0", POWER[1:], METER, [1000]) == ()
    assert measured_tracks("board:0", [{**POWER[0], "active_w": None}, POWER[1]], METER, [1000]) == ()
    assert measured_tracks("board:0", POWER, None, [1000]) == ()
    assert measured_tracks("board:0", POWER, METER, [0]) == ()
