# SPDX-License-Identifier: Apache-2.0
"""The report form of NeuroBench's system track: idle, active and dynamic power, execution time, dynamic energy.

Form (J. Yik et al., NeuroBench): idle is the power of a chip that is configured and ready, dynamic is active less
idle, and the dynamic energy is dynamic power times execution time. Pre-processing is told apart, or that it is in no
number. An estimate says that it is one: NeuroBench itself takes measurements only.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from spikefold.energy.chip.power_types import Band, ChipPower
from spikefold.errors import MismatchError

NOT_INCLUDED = "binning events into frames is in no number"


@dataclass(frozen=True)
class SystemTrack:
    """One row of the form; a clip is one inference.

    Attributes:
        system: the chip or board.
        idle_mw: low and high end; both the same where it was measured.
        active_mw: likewise; None where a price is unknown.
        execution_time_ms: of one inference.
        pre_processing: what of it is in these numbers.
        estimated: whether these are estimates and not measurements.

    Raises:
        MismatchError: an execution time that is not above 0.
    """

    system: str
    idle_mw: Band
    active_mw: Band | None
    execution_time_ms: float
    pre_processing: str
    estimated: bool

    def __post_init__(self) -> None:
        if self.execution_time_ms <= 0:
            raise MismatchError(f"an execution time of {self.execution_time_ms:g} ms", where=self.system)

    @property
    def dynamic_mw(self) -> Band | None:
        """Active less idle, never below 0: a meter's noise is no energy."""
        if self.active_mw is None:
            return None
        low, high = (active - idle for active, idle in zip(self.active_mw, self.idle_mw, strict=True))
        return max(0.0, low), max(0.0, high)

    @property
    def dynamic_energy_mj(self) -> Band | None:
        """Dynamic power times execution time."""
        if self.dynamic_mw is None:
            return None
        return self.dynamic_mw[0] * self.execution_time_ms * 1e-3, self.dynamic_mw[1] * self.execution_time_ms * 1e-3

    def describe(self) -> str:
        """One line for people."""
        kind = "estimates" if self.estimated else "measured"
        parts = (
            f"{name} {_told(band)} {unit}"
            for name, band, unit in (
                ("idle", self.idle_mw, "mW"),
                ("active", self.active_mw, "mW"),
                ("dynamic", self.dynamic_mw, "mW"),
                ("dynamic energy", self.dynamic_energy_mj, "mJ"),
            )
        )
        time = f"execution {self.execution_time_ms:,.3f} ms"
        return f"NeuroBench's form, {self.system} ({kind}): {', '.join(parts)}, {time}; {self.pre_processing}"

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report."""
        bands = {name: getattr(self, name) for name in ("idle_mw", "active_mw", "dynamic_mw", "dynamic_energy_mj")}
        return asdict(self) | {name: None if one is None else list(one) for name, one in bands.items()}


def _told(band: Band | None) -> str:
    if band is None:
        return "unknown"
    low, high = band
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def system_track(power: ChipPower) -> SystemTrack | None:
    """The form of an estimate, with all constants at the low and at the high end; None where rest is unknown."""
    idle, total = power.bands_uj["static"], power.bands_uj["total"]
    if idle is None:
        return None
    per_mw = 1e-3 / power.on_s
    return SystemTrack(
        power.profile,
        (idle[0] * per_mw, idle[1] * per_mw),
        None if total is None else (total[0] * per_mw, total[1] * per_mw),
        power.on_s * 1e3,
        NOT_INCLUDED,
        estimated=True,
    )
