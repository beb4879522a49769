# SPDX-License-Identifier: Apache-2.0
"""Computes what a board draws on each supply rail: idle, under input, and the difference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

OFFSET_W = 50e-6
"""Largest offset of the power monitor on a rail, either way (datasheet 3.2.6.4)."""
FASTEST_HZ = 100.0
"""Highest rate of the power monitor (datasheet 3.2.6.4)."""
RAILS: Mapping[int, str] = {
    0: "VDD_IO 2.5V",
    1: "VDD_RAM 1.2V",
    2: "VDD_LOGIC 1.2V",
    3: "VDD_PIXEL_DIGITAL 1.2V",
    4: "VDD_PIXEL_ANALOG 1.2V",
}
"""Rails by the monitor's channel (sinabs, ``power_monitoring.ipynb``)."""
OUR_RAILS: Mapping[str, str] = dict(
    zip(RAILS.values(), ("io", "ram", "logic", "pixel_digital", "pixel_analog"), strict=True)
)
"""The names of the same rails in a technology profile."""


@dataclass(frozen=True)
class RailPower:
    """One rail. Means in watts, each off by up to `OFFSET_W`; the difference is free of it if the offset is constant.

    Attributes:
        rail: its name.
        idle_w: mean without input; None without a sample.
        active_w: mean while events were being replayed; None without a sample.
        idle_samples: how many.
        active_samples: how many.
    """

    rail: str
    idle_w: float | None
    active_w: float | None
    idle_samples: int
    active_samples: int

    @property
    def difference_w(self) -> float | None:
        """Active less idle."""
        return None if self.idle_w is None or self.active_w is None else self.active_w - self.idle_w


def rail_powers(idle: Iterable[tuple[int, float]], active: Iterable[tuple[int, float]]) -> tuple[RailPower, ...]:
    """Means by rail, of samples (channel, watts)."""
    quiet, busy = _by_channel(idle), _by_channel(active)
    return tuple(
        RailPower(
            RAILS.get(channel, f"channel {channel}"),
            fmean(quiet[channel]) if channel in quiet else None,
            fmean(busy[channel]) if channel in busy else None,
            len(quiet.get(channel, ())),
            len(busy.get(channel, ())),
        )
        for channel in sorted({*quiet, *busy})
    )


def _by_channel(samples: Iterable[tuple[int, float]]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for channel, watts in samples:
        found.setdefault(channel, []).append(watts)
    return found
