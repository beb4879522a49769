# SPDX-License-Identifier: Apache-2.0
"""Prices: hand-worked energies, sums that add up, Eq. 11 with its sign, profiles that name their sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from spikefold.energy import budget as module
from spikefold.energy.budget import AttentionCost, attention_cost, budget, equation_11, load_profile
from spikefold.energy.counts import Counts, LayerCounts
from spikefold.errors import ConfigError

PROFILE = load_profile("horowitz45-fp32")


def _counts(first_pairs: int, second_events: int, clips: int = 4) -> Counts:
    first = LayerCounts("conv1", "counts", 9999, 8888, first_pairs, first_pairs + 77, 50, 20, 64)
    second = LayerCounts("conv2", "binary", 9999, 8888, second_events, second_events, 20, 8, 16)
    return Counts(clips, 8, (first, second))


def test_a_hand_worked_network() -> None:
    made = budget(_counts(1000, 6000), PROFILE)
    assert (made.mac_per_clip, made.ac_per_clip) == (250, 1500)
    assert made.energy_pj_per_clip == pytest.approx(250 * 4.6 + 1500 * 0.9, rel=1e-12)
    assert [layer.energy_pj_per_clip for layer in made.layers] == pytest.approx([1150, 1350], rel=1e-12)


def test_parts_sum_to_the_total() -> None:
    made = budget(_counts(1003, 6007), PROFILE, AttentionCost(40, 20, 4))
    assert sum(la.mac_per_clip for la in made.layers) + made.attention_macs_per_clip == made.mac_per_clip
    assert sum(la.ac_per_clip for la in made.layers) == made.ac_per_clip
    parts = sum(la.energy_pj_per_clip for la in made.layers) + made.attention_macs_per_clip * 4.6
    assert parts == made.energy_pj_per_clip


def test_energy_is_linear_in_each_constant() -> None:
    prices = PROFILE.energy_pj
    double = PROFILE.model_copy(
        update={"energy_pj": prices.model_copy(update={"ac": prices.ac.model_copy(update={"value": 1.8})})}
    )
    once, twice = (budget(_counts(1000, 6000), p).energy_pj_per_clip for p in (PROFILE, double))
    assert twice - once == pytest.approx(1500 * 0.9, rel=1e-12)


def test_equation_11_is_negative_when_attention_saves() -> None:
    twin = budget(_counts(1000, 60_000), PROFILE)
    attended = budget(_counts(1000, 20_000), PROFILE, AttentionCost(gate_macs=4000))
    found = equation_11(attended, twin, PROFILE)
    assert (found.added_macs_per_clip, found.removed_acs_per_clip) == (1000, 10_000)
    assert found.energy_pj_per_clip == pytest.approx(4.6 * 1000 - 0.9 * 10_000, rel=1e-12)
    assert found.energy_pj_per_clip < 0
    assert found.relative == pytest.approx(found.energy_pj_per_clip / twin.energy_pj_per_clip, rel=1e-12)
    difference = attended.energy_pj_per_clip - twin.energy_pj_per_clip
    assert found.energy_pj_per_clip == pytest.approx(difference, rel=1e-9)


def test_equation_11_is_positive_below_the_break_even() -> None:
    twin = budget(_counts(1000, 60_000), PROFILE)
    attended = budget(_counts(1000, 40_000), PROFILE, AttentionCost(gate_macs=4000))
    found = equation_11(attended, twin, PROFILE)
    assert found.removed_acs_per_clip / found.added_macs_per_clip < found.break_even
    assert found.energy_pj_per_clip > 0
    assert found.break_even == pytest.approx(5.11, abs=0.005)


def test_the_attention_of_the_papers_network_as_executed() -> None:
    shapes = {"asa1": (64, 32, 32), "asa2": (128, 16, 16), "asa3": (128, 8, 8)}
    one = attention_cost(shapes, 60, 1, mlp=True)
    assert (one.gate_macs, one.map_macs, one.mlp_macs) == (6_389_760, 48_384, 1_152_000)
    assert one.macs == 7_590_144
    assert attention_cost(shapes, 60, 1, mlp=False).macs == 6_438_144
    assert attention_cost(shapes, 60, 7, mlp=True).macs == 7 * one.macs


def test_an_unknown_profile_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'horowitz45-fp32'"):
        load_profile("horowitz45-fp23")


@pytest.mark.parametrize("line", ["source = ", "kind = ", "covers = ", "evidence = "])
def test_a_number_without_its_origin_is_refused(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(module.__file__).parent / "profiles" / "horowitz45-fp32.toml").read_text(encoding="utf-8")
    kept = "\n".join(row for row in text.split("\n") if not row.startswith(line))
    assert kept != text
    (tmp_path / "bare.toml").write_text(kept, encoding="utf-8")
    monkeypatch.setattr(module, "_FOLDER", tmp_path)
    with pytest.raises(ConfigError, match="incomplete") as caught:
        load_profile("bare")
    assert line.split(" ")[0] in str(caught.value)
