# SPDX-License-Identifier: Apache-2.0
"""Eq. 11 by layer and precision: rows that sum to the whole, a sign in words, break-evens of the facts."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikefold.energy.budget import AttentionCost, Budget, budget, load_profile
from spikefold.energy.counts.count import Counts, LayerCounts
from spikefold.energy.equation_11 import ATTENTION, YAN, break_evens, equation_11
from spikefold.errors import ConfigError, MismatchError

PROFILE = load_profile("horowitz45-fp32")


def _budget(rows: dict[str, int], clips: int = 4, attention: AttentionCost | None = None, **how: str) -> Budget:
    """Layers of spikes, by name and events; the first reads event counts."""
    layers = tuple(
        LayerCounts(name, "counts" if i == 0 else "binary", 9999, 8888, events, events, 20, 8, 16)
        for i, (name, events) in enumerate(rows.items())
    )
    return budget(Counts(clips, 8, layers), PROFILE, attention, rule=how.get("rule", "mixed"))


def test_each_layer_has_its_row_and_attention_its_own() -> None:
    baseline = _budget({"conv1": 1000, "conv2": 60_000, "fc": 400})
    attended = _budget({"conv1": 900, "conv2": 20_000, "fc": 500}, attention=AttentionCost(4000, 300, 20))
    found = equation_11(attended, baseline, PROFILE)
    assert [(row.name, row.added_macs, row.removed_acs) for row in found.layers] == [
        ("conv1", -100, 0),
        ("conv2", 0, 40_000),
        ("fc", 0, -100),
        (ATTENTION, 4320, 0),
    ]
    assert [row.energy_pj_per_clip for row in found.layers] == pytest.approx(
        [-115, -0.9 * 10_000, 0.9 * 25, 4.6 * 1080], rel=1e-12
    )
    assert found.energy_pj_per_clip == pytest.approx(sum(row.energy_pj_per_clip for row in found.layers), rel=1e-12)
    assert found.verdict == "saves energy, with the element-wise gate and without"


def test_the_gate_can_decide_the_sign() -> None:
    baseline = _budget({"conv1": 1000, "conv2": 60_000})
    attended = _budget({"conv1": 1000, "conv2": 50_000}, attention=AttentionCost(gate_macs=4000, map_macs=400))
    found = equation_11(attended, baseline, PROFILE)
    assert found.gate_macs_per_clip == 1000
    assert found.energy_pj_per_clip == pytest.approx(4.6 * 1100 - 0.9 * 2500)
    assert found.without_gate_pj_per_clip == pytest.approx(4.6 * 100 - 0.9 * 2500)
    assert found.without_gate_pj_per_clip < 0 < found.energy_pj_per_clip
    assert found.verdict == "costs energy; without its element-wise gate it saves energy"


def test_two_equal_networks_change_nothing() -> None:
    baseline = _budget({"conv1": 1000, "conv2": 60_000})
    assert (
        equation_11(baseline, baseline, PROFILE).verdict == "changes nothing, with the element-wise gate and without"
    )


def test_a_layer_that_one_network_lacks_is_compared_with_nothing() -> None:
    baseline = _budget({"conv1": 1000, "conv2": 600})
    attended = _budget({"conv1": 1000, "conv3": 500})
    rows = {row.name: row.removed_acs for row in equation_11(attended, baseline, PROFILE).layers}
    assert rows == {"conv1": 0, "conv2": 600, "conv3": -500, ATTENTION: 0}


COUNTS = st.lists(st.integers(0, 2**60), min_size=3, max_size=3)


@given(COUNTS, COUNTS, st.integers(0, 2**50), st.integers(0, 2**50), st.integers(1, 99))
def test_rows_sum_to_the_whole_exactly(first: list[int], second: list[int], gate: int, maps: int, clips: int) -> None:
    names = ("conv1", "conv2", "fc")
    baseline = _budget(dict(zip(names, [n + 1 for n in first], strict=True)), clips)
    attended = _budget(dict(zip(names, second, strict=True)), clips, AttentionCost(gate, maps))
    found = equation_11(attended, baseline, PROFILE)
    added = sum((row.added_macs for row in found.layers), Fraction(0))
    removed = sum((row.removed_acs for row in found.layers), Fraction(0))
    assert added == attended.mac - baseline.mac
    assert removed == baseline.ac - attended.ac
    scale = 4.6 * float(attended.mac + baseline.mac) + 0.9 * float(attended.ac + baseline.ac)
    expected = (4.6 * float(added) - 0.9 * float(removed)) / clips
    assert found.energy_pj_per_clip == pytest.approx(expected, rel=1e-12, abs=1e-12 * scale)


def test_break_evens_by_precision_and_with_memory() -> None:
    found = break_evens()
    assert [(one.profile, one.words) for one in found] == [
        ("horowitz45-fp32", 0),
        ("horowitz45-fp16", 0),
        ("horowitz45-int8", 0),
        ("horowitz45-int32", 0),
        ("horowitz45-fp32", 3),
    ]
    assert [round(one.ratio, 2) for one in found] == [5.11, 3.75, 7.67, 32.0, 1.23]
    assert [len(one.where) for one in found] == [2, 2, 2, 2, 3]
    assert all(place.startswith(f"{one.profile}.toml:") for one in found for place in one.where)


def test_networks_that_were_not_counted_alike_are_refused() -> None:
    baseline = _budget({"conv1": 1000, "conv2": 600})
    for other in (_budget({"conv1": 1000, "conv2": 600}, clips=5), _budget({"conv1": 1000}, rule="chip")):
        with pytest.raises(MismatchError, match="one rule over as many clips"):
            equation_11(other, baseline, PROFILE)


def test_an_unknown_price_is_refused() -> None:
    baseline = _budget({"conv1": 1000, "conv2": 600})
    with pytest.raises(ConfigError, match="no number is known"):
        equation_11(baseline, baseline, load_profile("speck"))


def test_a_report_gets_plain_values() -> None:
    baseline = _budget({"conv1": 1000, "conv2": 600}, clips=3)
    values = equation_11(baseline, baseline, PROFILE).to_json()
    assert values["layers"][1] == {"name": "conv2", "added_macs": "0", "removed_acs": "0", "energy_pj_per_clip": 0.0}
    assert len(values["break_evens"]) == 5
    assert values["verdict"].startswith("changes nothing")


def test_the_firing_break_even_is_told_for_its_own_t_only() -> None:
    assert (YAN.steps, YAN.most) == (5, 0.057)
    assert "at most" in YAN.verdict(5, 0.057)
    assert "above" in YAN.verdict(5, 0.0571)
    assert "T = 5 only" in YAN.verdict(60, 0.01)
