# SPDX-License-Identifier: Apache-2.0
"""The floorplan has a tile for each core of a chip that is placed, the free ones too, else one for each layer."""

from __future__ import annotations

from typing import Any

from spikefold.stages.report.energy_intervals import EnergyBar, bars_of, energy_intervals
from spikefold.stages.report.floorplan import floorplan


def _use(layer: str, cores: int, used: int, allowed: int) -> dict[str, Any]:
    memory = {"kernel": {"used": used, "allowed": allowed}, "bias": {"used": 0, "allowed": 8}}
    return {"layer": layer, "cores": cores, "limited_by": "kernel", "memory": memory}


def _fit(chip: str, placement: dict[str, int]) -> dict[str, Any]:
    return {"chip": chip, "layers": [_use("a", 2, 3, 4), _use("b", 1, 8, 8)], "placement": placement}


def test_every_core_of_a_placed_chip_has_a_tile() -> None:
    tiles = floorplan(_fit("speck2f", {"na.0": 7, "na.1": 2, "nb": 0}), [])
    assert [tile.title for tile in tiles] == [f"core {number}" for number in range(9)]
    assert [tile.layer for tile in tiles] == ["b", "", "a", "", "", "", "", "a", ""]
    fullest = tiles[7].fills[0]
    assert (fullest.name, fullest.share, fullest.text) == ("kernel", 0.75, "3 of 4")
    assert tiles[7].mean_per_s is None


def test_the_budgets_own_numbers_of_cores_are_taken_where_it_has_them() -> None:
    rates = [
        {"layer": "a", "numbers": [1, 3], "mean_per_s": 5.0, "peak_per_s": 9.0},
        {"layer": "b", "numbers": [4], "mean_per_s": 1.0, "peak_per_s": 2.0},
    ]
    tiles = floorplan(_fit("speck2f", {"na.0": 7, "na.1": 2, "nb": 0}), rates)
    assert [tile.layer for tile in tiles] == ["", "a", "", "a", "b", "", "", "", ""]
    assert (tiles[3].mean_per_s, tiles[3].peak_per_s) == (5.0, 9.0)


def test_counted_cores_have_a_tile_a_layer() -> None:
    assert [(tile.title, tile.layer) for tile in floorplan(_fit("loihi2", {}), [])] == [
        ("2 cores", "a"), ("1 core", "b"),
    ]  # fmt: skip
    assert floorplan({"chip": "speck2f", "layers": [], "placement": {}}, []) == ()


def test_an_energy_is_a_bar_from_its_low_to_its_high_end() -> None:
    power = {"bands_uj": {"total": [100.0, 1000.0], "dynamic": [0.0, 10.0], "static": [1.0, 1.0]}}
    bars = bars_of(["x.events", "y"], {"x.events": {"chip": {"power": power}}, "y": {"chip": None}})
    assert bars == (
        EnergyBar("x.events: whole chip", 100.0, 1000.0, True), EnergyBar("x.events: its events", 0.0, 10.0, False),
    )  # fmt: skip
    drawn = energy_intervals(bars)
    assert drawn.count("<rect") == 2
    assert "x.events: whole chip: 100 to 1e+03 uJ" in drawn
    starts = [float(part.split('"')[0]) for part in drawn.split('<rect x="')[1:]]
    assert starts[1] < starts[0], "what is 0 begins at the left"
    assert energy_intervals(()) == ""
