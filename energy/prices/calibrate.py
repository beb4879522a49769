# SPDX-License-Identifier: Apache-2.0
"""Fit the affine power model of a chip to measurements: ``P = rest + running + k * SynOps/s``.

Nobody publishes what a synaptic operation of Speck costs, so whoever has a board measures it: let it rest, replay
inputs of different activity, read the power of the processor's rails (RAM and LOGIC), and fit a straight line through
the running points. What that line draws at no operation, less the measured rest, is the power of running whatever
happens. The result is a profile of the user's own, for `load_profile` by its path.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from statistics import fmean, stdev

from scipy import stats

from spikefold.energy.prices.calibration_data import PROCESSOR, SENSOR, Point
from spikefold.energy.prices.load import TechnologyProfile, load_profile
from spikefold.errors import ConfigError, DataError
from spikefold.files import replacing

FEWEST = 3
"""Two points lie on some line whatever they are; with three different rates a wrong model shows."""
_PJ_PER_MW_S = 1e9
_CONFIDENCE = 0.95
_ROUNDING = 1e-9
"""Share of the power at rest by which a line may miss it on exact points."""


@dataclass(frozen=True)
class Fit:
    """A straight line through measured powers, by least squares.

    Attributes:
        static_mw: power at rest, the intercept.
        static_se_mw: its standard error.
        energy_pj: one synaptic operation, the slope.
        energy_se_pj: its standard error.
        r2: share of the variance explained.
        points: how many.
        t: quantile of Student's t for a 95 % interval.
        rails_mw: mean, lowest and highest of each rail that was measured.
        running_mw: power above rest of running whatever happens; None where it was not told apart from rest.
        running_se_mw: its standard error.
    """

    static_mw: float
    static_se_mw: float
    energy_pj: float
    energy_se_pj: float
    r2: float
    points: int
    t: float
    rails_mw: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    running_mw: float | None = None
    running_se_mw: float = 0.0

    @property
    def running_interval_mw(self) -> tuple[float, float]:
        """95 % interval of the power of running, from 0 up."""
        return _interval(self.running_mw or 0.0, self.running_se_mw * self.t)

    @property
    def static_interval_mw(self) -> tuple[float, float]:
        """95 % interval of the power at rest, from 0 up; the offset of the meter is not in it."""
        return _interval(self.static_mw, self.static_se_mw * self.t)

    @property
    def energy_interval_pj(self) -> tuple[float, float]:
        """95 % interval of the energy of a synaptic operation, from 0 up."""
        return _interval(self.energy_pj, self.energy_se_pj * self.t)

    def describe(self) -> str:
        """One line for people."""
        low, high = self.energy_interval_pj
        running = "" if self.running_mw is None else f"{self.running_mw:.4g} mW running whatever happens, "
        return (
            f"{self.static_mw:.4g} mW at rest (standard error {self.static_se_mw:.2g}), {running}"
            f"{self.energy_pj:.4g} pJ for "
            f"a synaptic operation (95 % interval {low:.4g} to {high:.4g}), R2 {self.r2:.4f}, {self.points} points"
        )


def fit(points: Sequence[Point]) -> Fit:
    """Least squares of power over rate.

    Raises:
        DataError: too few different rates, a power that does not grow with them, or a negative power at rest.
    """
    rates = [point.synops_per_s for point in points]
    if len(set(rates)) < FEWEST:
        raise DataError(
            f"{len(points)} measurements at {len(set(rates))} different rates do not make a line",
            hint=f"measure at {FEWEST} rates or more: at rest, at a busy input, and between",
        )
    line = stats.linregress(rates, [point.power_mw for point in points])
    if not line.slope > 0:
        raise DataError(
            f"the power does not grow with the synaptic operations: {line.slope * _PJ_PER_MW_S:.4g} pJ each",
            hint="check that rates and powers belong together, and that the power is of the processor's rails",
        )
    if not line.intercept > 0:
        raise DataError(
            f"the line meets rest at {line.intercept:.4g} mW: no chip delivers power",
            hint="measure nearer to rest; a line through busy points alone says little about rest",
        )
    return Fit(
        float(line.intercept),
        float(line.intercept_stderr),
        float(line.slope) * _PJ_PER_MW_S,
        float(line.stderr) * _PJ_PER_MW_S,
        float(line.rvalue) ** 2,
        len(points),
        float(stats.t.ppf((1 + _CONFIDENCE) / 2, len(points) - 2)),
        fit_rails(points),
    )


def fit_terms(points: Sequence[Point]) -> Fit:
    """All three terms: rest from the points without an operation, running and price by a line through the others.

    Raises:
        DataError: no point at rest, or too few running rates, so that the terms cannot be told apart; a power that
            does not grow with the rate; or running that would draw less than rest.
    """
    resting = [point for point in points if point.synops_per_s == 0]
    running = [point for point in points if point.synops_per_s > 0]
    rates = len({point.synops_per_s for point in running})
    if not resting or rates < FEWEST:
        raise DataError(
            f"{len(resting)} measurements at rest and {rates} different rates while running do not tell apart what "
            "rest, running and an operation draw",
            hint=f"measure at rest, and run at {FEWEST} rates or more",
        )
    line, rest = fit(running), [point.power_mw for point in resting]
    rest_se = stdev(rest) / math.sqrt(len(rest)) if len(rest) > 1 else 0.0
    above, error = line.static_mw - fmean(rest), math.hypot(line.static_se_mw, rest_se)
    if above + error * line.t < -_ROUNDING * fmean(rest):
        raise DataError(
            f"running without an operation would draw {-above:.4g} mW less than rest",
            hint="check that rest was measured on the same rails, with the network configured",
        )
    whole = fit_rails(points)
    return replace(
        line,
        static_mw=fmean(rest),
        static_se_mw=rest_se,
        points=len(points),
        rails_mw=whole,
        running_mw=max(0.0, above),
        running_se_mw=error,
    )


def fit_rails(points: Sequence[Point]) -> dict[str, tuple[float, float, float]]:
    """Mean, lowest and highest power of each rail that was measured."""
    names = sorted({name for point in points for name in point.rails_mw})
    measured = {name: [p.rails_mw[name] for p in points if name in p.rails_mw] for name in names}
    return {name: (fmean(values), min(values), max(values)) for name, values in measured.items()}


def write_profile(
    found: Fit, path: Path, *, device: str, when: date, chip: str, offset_mw: float = 0.0
) -> TechnologyProfile:
    """Write a profile that `load_profile` takes by its path, and load it.

    Args:
        found: of `fit`.
        path: where; ends in ``.toml``.
        device: which board and network, in words: the numbers hold for it.
        when: day of the measurement.
        offset_mw: of the meter, either way; widens the band of the power at rest. A constant one leaves the slope
            alone.
        chip: the profile of the house whose process and supply are taken over.

    Raises:
        ConfigError: a path that is no TOML file or cannot be written, no name of a device, or a negative offset.
    """
    if path.suffix != ".toml" or not device.strip() or not device.isprintable() or offset_mw < 0:
        raise ConfigError(
            f"no profile can be written for device {device!r} to {path.name} with an offset of {offset_mw:g} mW",
            where=str(path),
            hint="give a path that ends in .toml, a device in printable words, and an offset of 0 or more",
        )
    text = _profile_text(found, load_profile(chip), path.stem, device.strip(), when, offset_mw)
    try:
        with replacing(path) as scratch:
            scratch.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write the profile: {error}", where=str(path)) from error
    return load_profile(str(path))


def _profile_text(found: Fit, chip: TechnologyProfile, name: str, device: str, when: date, offset_mw: float) -> str:
    origin = f"{device}, {when.isoformat()}, {found.points} points, straight line with R2 {found.r2:.4f}"
    title = f"{chip.name}, calibrated on {device}"
    header = f"# {found.describe()}\n" + _lines(
        name=name, title=title, node_nm=chip.node_nm, voltage_v=chip.voltage_v, source=origin
    )
    interval = f"{_CONFIDENCE:.0%} interval of the fit"
    low, high = found.static_interval_mw
    rest_band = f"{interval}, and {offset_mw:g} mW offset of the meter either way" if offset_mw else interval
    ac_low, ac_high = found.energy_interval_pj
    blocks = [
        header,
        "[energy_pj.mac]\n" + _lines(
            value="unknown", unit="pJ", kind="marginal", covers=chip.energy_pj.mac.covers, evidence="none",
            source=origin,
        ),
        "[energy_pj.ac]\n" + _lines(
            value=found.energy_pj, low=ac_low, high=ac_high, unit="pJ", kind="marginal",
            covers="one synaptic operation above rest, with all that grows with it (neurons, routing)",
            evidence="measured", source=origin, band=interval,
        ),
        "[power_mw.static]\n" + _lines(
            value=found.static_mw, low=max(0.0, low - offset_mw), high=high + offset_mw, unit="mW", kind="static",
            covers="the processor at rest" + (
                ", where the line meets no synaptic operation" if found.running_mw is None else ", measured"
            ), evidence="measured",
            source=origin, band=rest_band,
        ),
    ]  # fmt: skip
    if found.running_mw is not None:
        run_low, run_high = found.running_interval_mw
        blocks.append("[power_mw.running]\n" + _lines(
            value=found.running_mw, low=run_low, high=run_high, unit="mW", kind="static",
            covers="power above rest of running whatever happens, where the line through the running points meets no "
            "synaptic operation", evidence="measured", source=origin, band=interval,
        ))  # fmt: skip
    for rail, (mean, least, most) in found.rails_mw.items():
        group = "sensor" if rail in SENSOR else "rails"
        part = "; part of the static power" if rail in PROCESSOR else ""
        blocks.append(f"[power_mw.{group}.{rail}]\n" + _lines(
            value=mean, low=min(least, mean), high=max(most, mean), unit="mW", kind="static",
            covers=f"{rail} rail, mean over the points{part}", evidence="measured", source=origin,
            band="lowest and highest point",
        ))  # fmt: skip
    return "\n".join(blocks)


def _lines(**values: str | float) -> str:
    return "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())


def _toml(value: str | float) -> str:
    """A TOML value; a printable string is written as in JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(float(value))


def _interval(value: float, half: float) -> tuple[float, float]:
    return max(0.0, value - half), value + half
