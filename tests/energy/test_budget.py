# SPDX-License-Identifier: Apache-2.0
"""Prices: hand-worked energies, sums that add up exactly, kinds that do not mix, Eq. 11 with its sign."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikefold.energy.budget import (
    AttentionCost,
    Budget,
    attention_cost,
    budget,
    load_profile,
    side_by_side,
)
from spikefold.energy.counts.count import Counts, LayerCounts
from spikefold.energy.counts.rules import RULES
from spikefold.energy.equation_11 import equation_11
from spikefold.errors import ConfigError

PROFILE = load_profile("horowitz45-fp32")


def _counts(first_pairs: int, second_events: int, clips: int = 4) -> Counts:
    first = LayerCounts(
        "conv1", "counts", 9999, 8888, first_pairs, first_pairs + 77, 50, 20, 64, weighted=first_pairs
    )
    second = LayerCounts(
        "conv2", "binary", 9999, 8888, second_events, second_events, 20, 8, 16, weighted=second_events
    )
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
    baseline = budget(_counts(1000, 60_000), PROFILE)
    attended = budget(_counts(1000, 20_000), PROFILE, AttentionCost(gate_macs=4000))
    found = equation_11(attended, baseline, PROFILE)
    assert (found.added_macs_per_clip, found.removed_acs_per_clip) == (1000, 10_000)
    assert found.energy_pj_per_clip == pytest.approx(4.6 * 1000 - 0.9 * 10_000, rel=1e-12)
    assert found.energy_pj_per_clip < 0
    assert found.relative == pytest.approx(found.energy_pj_per_clip / baseline.energy_pj_per_clip, rel=1e-12)
    difference = attended.energy_pj_per_clip - baseline.energy_pj_per_clip
    assert found.energy_pj_per_clip == pytest.approx(difference, rel=1e-9)


def test_equation_11_is_positive_below_the_break_even() -> None:
    baseline = budget(_counts(1000, 60_000), PROFILE)
    attended = budget(_counts(1000, 40_000), PROFILE, AttentionCost(gate_macs=4000))
    found = equation_11(attended, baseline, PROFILE)
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


def _of_kinds(clips: int, *rows: tuple[str, int, int]) -> Counts:
    """Layers of (input kind, pairs, events)."""
    layers = [
        LayerCounts(f"layer{i}", kind, 10 * pairs, 9 * pairs, pairs, events, events // 3, 5, 7)
        for i, (kind, pairs, events) in enumerate(rows)
    ]
    return Counts(clips, 8, tuple(layers))


def test_spikes_summed_by_a_pool_are_accumulated_one_by_one() -> None:
    made = budget(_of_kinds(2, ("counts", 7, 15), ("binary", 6, 6), ("sum-pooled", 10, 31)), PROFILE)
    assert [(la.mac_per_clip, la.ac_per_clip) for la in made.layers] == [(3.5, 0), (0, 3), (0, 15.5)]
    assert made.energy_pj_per_clip == pytest.approx(16.1 + 2.7 + 13.95, rel=1e-12)


ROWS = st.lists(
    st.tuples(st.sampled_from(["binary", "sum-pooled"]), st.integers(0, 2**60), st.integers(0, 2**60)), max_size=4
)


@given(ROWS, st.integers(0, 2**60), st.integers(1, 100), st.integers(0, 2**50))
def test_parts_sum_to_the_totals_exactly(rows: list[tuple[str, int, int]], pairs: int, clips: int, macs: int) -> None:
    found = budget(_of_kinds(clips, ("counts", pairs, pairs), *rows), PROFILE, AttentionCost(mlp_macs=macs))
    extra = found.attention_macs_per_clip
    assert extra == macs / clips
    assert found.mac_per_clip == sum(la.mac_per_clip for la in found.layers) + extra
    assert found.ac_per_clip == sum(la.ac_per_clip for la in found.layers)
    assert found.energy_pj_per_clip == sum(la.energy_pj_per_clip for la in found.layers) + 4.6 * extra
    expected = 4.6 * found.mac_per_clip + 0.9 * found.ac_per_clip
    assert found.energy_pj_per_clip == pytest.approx(expected, rel=1e-12)
    assert found.mac == sum(la.mac for la in found.layers) + macs == pairs + macs
    assert found.ac == sum(la.ac for la in found.layers) == sum(events for _, _, events in rows)
    assert found.mac_per_clip == pytest.approx(float(found.mac / clips), rel=1e-12)


def test_at_the_break_even_nothing_is_gained_and_one_accumulate_decides() -> None:
    def spending(mac: float, ac: float) -> Budget:
        return Budget("p", (), 0.0, mac, ac, 4.6 * mac + 0.9 * ac)

    baseline = spending(100, 1000)
    even, saved, lost = (equation_11(spending(190, 1000 - removed), baseline, PROFILE) for removed in (460, 461, 459))
    assert even.break_even == pytest.approx(460 / 90, rel=1e-12)
    assert even.energy_pj_per_clip == pytest.approx(0, abs=1e-9)
    assert saved.energy_pj_per_clip < 0 < lost.energy_pj_per_clip


def test_every_rule_is_priced_beside_the_others_and_says_what_it_is() -> None:
    counts = _counts(1000, 6000)
    rates = {"conv1": Fraction(1, 7), "conv2": Fraction(2, 11)}
    found = side_by_side(counts, PROFILE, rates, AttentionCost(gate_macs=400))
    assert list(found) == list(RULES)
    assert len({made.rule for made in found.values()}) == len(RULES)
    assert all(made.rule_name == name and len(made.rule) > 40 for name, made in found.items())
    # attention belongs to the network that was run, not to the dense one in its place
    assert {name: made.attention_macs_per_clip for name, made in found.items()} == {
        "mixed": 100,
        "chip": 100,
        "paper": 100,
        "rate-flops": 100,
        "ann": 0,
        "qnn": 0,
        "nonzero": 100,
    }
    for made in found.values():
        assert made.mac == sum(la.mac for la in made.layers) + made.attention.macs
        assert made.ac == sum(la.ac for la in made.layers)
    assert found["paper"].mac == Fraction(9999, 7) + 400
    assert found["chip"].energy_pj_per_clip == pytest.approx((1077 + 6000) / 4 * 0.9 + 100 * 4.6, rel=1e-12)


def test_an_unknown_rule_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'paper'"):
        budget(_counts(10, 10), PROFILE, rule="papers")


def test_a_price_that_nobody_knows_is_not_made_up() -> None:
    counts, xylo = _counts(0, 6000), load_profile("xylo-audio2")
    with pytest.raises(ConfigError, match="no number is known") as caught:
        budget(counts, xylo, rule="chip")
    assert "xylo-audio2.toml:" in str(caught.value)
    assert "calibrate" in str(caught.value)
    loihi = load_profile("loihi1-presilicon")
    assert budget(counts, loihi, rule="chip").energy_pj_per_clip == pytest.approx(6077 / 4 * 23.6, rel=1e-12)
    with pytest.raises(ConfigError, match="has synaptic operations only"):
        budget(_counts(1000, 6000), loihi)  # a MAC, on a chip that has none


def test_an_all_in_price_stands_alone() -> None:
    gpu, true_north = load_profile("gpu"), load_profile("truenorth-all-in")
    assert budget(_counts(1000, 6000), gpu).energy_pj_per_clip == pytest.approx(7000 / 4 * 300, rel=1e-12)
    assert budget(_counts(0, 4), true_north, rule="chip").energy_pj_per_clip == pytest.approx((77 + 4) / 4 * 26)
    energy = true_north.energy_pj.model_copy(update={"mac": PROFILE.energy_pj.mac})
    mixed = true_north.model_copy(update={"energy_pj": energy})
    with pytest.raises(ConfigError, match="already holds") as caught:
        budget(_counts(1000, 6000), mixed)
    assert [issue.got for issue in caught.value.issues] == ["marginal", "all-in"]
    assert "truenorth-all-in.toml:" in str(caught.value)
    assert "horowitz45-fp32.toml:" in str(caught.value)


def test_a_report_gets_whole_numbers_whole_and_fractions_exactly() -> None:
    rates = {"conv1": Fraction(1, 7), "conv2": Fraction(1, 3)}
    values = budget(_counts(1000, 6000), PROFILE, AttentionCost(1, 2, 3), rule="paper", rates=rates).to_json()
    assert values["layers"][0]["mac"] == "9999/7"
    assert values["layers"][1]["ac"] == 3333
    assert values["attention"] == {"gate_macs": 1, "map_macs": 2, "mlp_macs": 3, "macs": 6}
    assert budget(_counts(2**60, 0), PROFILE).to_json()["mac"] == str(2**60)
