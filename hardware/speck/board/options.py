# SPDX-License-Identifier: Apache-2.0
"""Sets how clips are run on a board: repeats, waiting, power, and what is done about the first event."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from math import isfinite

from spikefold.errors import ConfigError
from spikefold.hardware.speck.board.power import FASTEST_HZ


@dataclass(frozen=True)
class Clock:
    """Where waiting is done."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class DeviceOptions:
    """How to run.

    Attributes:
        layers: spiking layers to monitor; all by default. Monitoring costs power and time on the chip.
        repeats: runs of every clip.
        delay_us: stop watch at the first bin, rounded up to whole bins.
        poll_s: pause between two readings.
        quiet_s: silence that ends a clip, after its last event was due.
        timeout_s: longest wait for that silence.
        settle_s: pause after a configuration, and after the neurons were zeroed.
        idle_s: how long the board's power is measured without input; 0 leaves power out.
        power_rate_hz: samples a second and rail.
        dummy_event: send each core an event before the clip, for a chip that loses the first one; a chip that does
            not lose it counts it.

    Raises:
        ConfigError: a number out of range.
    """

    layers: tuple[str, ...] = ()
    repeats: int = 3
    delay_us: int = 100_000
    poll_s: float = 0.05
    quiet_s: float = 0.5
    timeout_s: float = 20.0
    settle_s: float = 1.0
    idle_s: float = 2.0
    power_rate_hz: float = FASTEST_HZ
    dummy_event: bool = False

    def __post_init__(self) -> None:
        least = {"repeats": 1, "poll_s": 1e-4, "quiet_s": 1e-4, "timeout_s": self.quiet_s, "power_rate_hz": 0.1}
        most = {"power_rate_hz": FASTEST_HZ}
        for field in fields(self):
            if field.name in ("layers", "dummy_event"):
                continue
            value = getattr(self, field.name)
            low, high = least.get(field.name, 0), most.get(field.name, float("inf"))
            if not isfinite(value) or not low <= value <= high:
                raise ConfigError(f"{field.name} = {value}", where="device options", hint=f"{low} to {high}")
