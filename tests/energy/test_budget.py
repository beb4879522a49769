# SPDX-License-Identifier: Apache-2.0
"""Prices: hand-worked energies, sums that add up, Eq. 11 with its sign, profiles that name their sources."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikefold.energy import budget as module
from spikefold.energy.budget import AttentionCost, Budget, attention_cost, budget, equation_11, load_profile
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


def test_at_the_break_even_nothing_is_gained_and_one_accumulate_decides() -> None:
    def spending(mac: float, ac: float) -> Budget:
        return Budget("p", (), 0.0, mac, ac, 4.6 * mac + 0.9 * ac)

    twin = spending(100, 1000)
    even, saved, lost = (equation_11(spending(190, 1000 - removed), twin, PROFILE) for removed in (460, 461, 459))
    assert even.break_even == pytest.approx(460 / 90, rel=1e-12)
    assert even.energy_pj_per_clip == pytest.approx(0, abs=1e-9)
    assert saved.energy_pj_per_clip < 0 < lost.energy_pj_per_clip


@pytest.mark.parametrize("path", sorted(Path(module.__file__).parent.glob("profiles/*.toml")), ids=lambda p: p.stem)
def test_every_profile_of_the_house_is_complete(path: Path) -> None:
    found = load_profile(path.stem)
    assert found.name == path.stem
    for price in (found.energy_pj.mac, found.energy_pj.ac):
        assert 0 < price.low <= price.value <= price.high


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("source", '""'), ("source", '"  "'), ("covers", '""'), ("kind", '"total"'), ("evidence", '"guessed"'),
        ("value", '"cheap"'), ("value", "nan"), ("low", "-inf"), ("node_nm", "inf"),
    ],
)  # fmt: skip
def test_an_origin_that_says_nothing_is_refused(
    field: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = (Path(module.__file__).parent / "profiles" / "horowitz45-fp32.toml").read_text(encoding="utf-8")
    text = re.sub(rf"(?m)^{field} = .*$", f"{field} = {value}", sound)
    assert text != sound
    (tmp_path / "bare.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(module, "_FOLDER", tmp_path)
    with pytest.raises(ConfigError, match=field):
        load_profile("bare")


def test_a_path_is_no_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outside.toml").write_text("name = 'x'")
    (tmp_path / "inside").mkdir()
    monkeypatch.setattr(module, "_FOLDER", tmp_path / "inside")
    with pytest.raises(ConfigError, match="unknown technology profile"):
        load_profile("../outside")
