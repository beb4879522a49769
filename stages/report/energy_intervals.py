# SPDX-License-Identifier: Apache-2.0
"""The energy of a clip on each chip as a bar from its low to its high end, on a logarithmic axis; written by hand.

Energies of chips span four orders of magnitude, and most of an interval is what nobody published. A drawing of a few
bars needs no plotting library, whose one figure would cost as much time as the rest of the page.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

_WIDTH, _LEFT, _RIGHT, _ROW, _TOP = 840, 250, 50, 26, 8


@dataclass(frozen=True)
class EnergyBar:
    """One bar, in uJ a clip; ``whole`` is the chip, else its events alone."""

    label: str
    low_uj: float
    high_uj: float
    whole: bool


def bars_of(quoted: Sequence[str], networks: Mapping[str, Any]) -> tuple[EnergyBar, ...]:
    """The bars of the variants that are quoted: the whole chip, and of it the events; none where nothing is known."""
    return tuple(bar for name in quoted for bar in _bars(name, networks[name].get("chip") or {}))


def _bars(name: str, chip: Mapping[str, Any]) -> Iterator[EnergyBar]:
    bands = (chip.get("power") or {}).get("bands_uj") or {}
    for part, words in (("total", "whole chip"), ("dynamic", "its events")):
        if bands.get(part):
            low, high = bands[part]
            yield EnergyBar(f"{name}: {words}", low, high, part == "total")


def energy_intervals(bars: Sequence[EnergyBar]) -> str:
    """The drawing as an ``<svg>`` element; empty where there is no bar."""
    ends = [end for bar in bars for end in (bar.low_uj, bar.high_uj) if end > 0]
    if not ends:
        return ""
    first, last = floor(log10(min(ends))), max(ceil(log10(max(ends))), floor(log10(min(ends))) + 1)
    height = _TOP + _ROW * len(bars) + 34

    def place(value: float) -> float:
        inside = (log10(value) - first) / (last - first) if value > 0 else 0.0
        return _LEFT + min(max(inside, 0.0), 1.0) * (_WIDTH - _LEFT - _RIGHT)

    parts = list(_axis(range(first, last + 1), place, height))
    for row, bar in enumerate(bars):
        y, start, end = _TOP + _ROW * row, place(bar.low_uj), place(bar.high_uj)
        colour = "#3b6fb6" if bar.whole else "#d9822b"
        text = f"{bar.low_uj:,.3g} to {bar.high_uj:,.3g} uJ"
        parts.append(f'<text x="{_LEFT - 10}" y="{y + 16}" text-anchor="end">{html.escape(bar.label)}</text>')
        parts.append(
            f'<rect x="{start:.1f}" y="{y + 4}" width="{max(end - start, 3):.1f}" height="{_ROW - 9}" rx="3" '
            f'fill="{colour}"><title>{html.escape(bar.label)}: {text}</title></rect>'
        )
    return (
        f'<svg role="img" aria-label="Estimated energy of a clip on each chip, with its interval" '
        f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" font-size="13">{"".join(parts)}</svg>'
    )


def _axis(powers: Sequence[int], place: Any, height: int) -> Iterator[str]:
    bottom = height - 30
    for power in powers:
        x = place(10.0**power)
        label = f"{10**power:,}" if power >= 0 else f"{10.0**power:g}"
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}" stroke="currentColor" opacity=".18"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{label}</text>'
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    yield f'<text x="{middle:.1f}" y="{height - 2}" text-anchor="middle">estimated: uJ a clip, low to high</text>'
