# SPDX-License-Identifier: Apache-2.0
"""The floorplan of a chip: one tile a core, or a layer where cores are only counted, with its fill and its pace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from spikefold.hardware.registry import chip_named


@dataclass(frozen=True)
class Fill:
    """One memory of a tile, and how much of it is used, 0 to 1."""

    name: str
    share: float
    text: str


@dataclass(frozen=True)
class Tile:
    """One core, or the cores of one layer.

    Attributes:
        title: of the core, or how many cores.
        layer: what lies there; empty for a core that is free.
        fills: of its memories, the fullest first; of the fullest of its cores where there are several.
        mean_per_s: synaptic operations a second of the busiest of its cores; None where nobody counted.
        peak_per_s: in the busiest step of the busiest clip.
    """

    title: str
    layer: str
    fills: tuple[Fill, ...] = ()
    mean_per_s: float | None = None
    peak_per_s: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values for a page."""
        return asdict(self)


def floorplan(fit: Mapping[str, Any], rates: Sequence[Mapping[str, Any]]) -> tuple[Tile, ...]:
    """The tiles of one chip.

    Args:
        fit: what the chip says to the network, as `hardware.fit.FitReport.to_json`.
        rates: of its cores, as ``cores`` of a chip's budget; empty where nothing was counted.

    Returns:
        Each core of a chip whose cores are told one by one, the free ones too; else one tile a layer. Empty where the
        network does not fit, or the chip's cores are not counted.
    """
    uses = {use["layer"]: use for use in fit["layers"]}
    paces = {rate["layer"]: rate for rate in rates}
    memory = chip_named(str(fit["chip"])).memory
    if memory is None or not uses:
        return tuple(_of_layer(use, paces.get(name, {})) for name, use in uses.items())
    lying = dict(_placed(uses, paces, list(fit["placement"].values())))
    return tuple(
        _tile(f"core {row[0]}", uses[lying[row[0]]], paces.get(lying[row[0]], {}))
        if row[0] in lying
        else Tile(f"core {row[0]}", "")
        for row in memory.rows
    )


def _placed(
    uses: Mapping[str, Mapping[str, Any]], paces: Mapping[str, Mapping[str, Any]], placement: list[int]
) -> Iterator[tuple[str, str]]:
    """Core and layer. The placement names spiking layers in the order of the weight layers, a split one in a row."""
    place = 0
    for name, use in uses.items():
        numbers = paces.get(name, {}).get("numbers") or placement[place : place + use["cores"]]
        place += use["cores"]
        for number in numbers:
            yield str(number), name


def _of_layer(use: Mapping[str, Any], pace: Mapping[str, Any]) -> Tile:
    cores = int(use["cores"])
    return _tile(f"{cores:,} core{'s' * (cores != 1)}", use, pace)


def _tile(title: str, use: Mapping[str, Any], pace: Mapping[str, Any]) -> Tile:
    fills = [
        Fill(name.replace("_", " "), one["used"] / one["allowed"], f"{one['used']:,} of {one['allowed']:,}")
        for name, one in use["memory"].items()
        if one["allowed"]
    ]
    fills.sort(key=lambda fill: -fill.share)
    return Tile(title, use["layer"], tuple(fills), pace.get("mean_per_s"), pace.get("peak_per_s"))
