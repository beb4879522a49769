# SPDX-License-Identifier: Apache-2.0
"""What attention multiplies: as executed and by the paper's rule, and never one under the name of the other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import spikefold.energy
from spikefold.energy.counts.attention import AttentionCost, cost_of, labelled_macs, paper_cost
from spikefold.energy.table3 import SHAPES, STEPS
from spikefold.train.models.attention import ASA
from spikefold.train.models.attention_compared import SA, TCSA

KINDS = ("none", "sa", "tcsa", "asa1", "asa2")


@pytest.mark.parametrize(
    ("kind", "paper", "executed"),
    [
        ("none", 0, 0),
        ("sa", 14_292_480, 14_292_480),
        ("tcsa", 27_262_656, 27_119_664),
        ("asa1", 2_603_520, 7_590_144),
        ("asa2", 1_451_520, 6_438_144),
    ],
)
def test_arch_a_by_both_rules(kind: str, paper: int, executed: int) -> None:
    found = labelled_macs(kind, SHAPES, STEPS)
    assert (found["kind"], set(found)) == (kind, {"kind", "paper", "executed", "what"})
    assert (found["paper"]["macs_per_clip"], found["executed"]["macs_per_clip"]) == (paper, executed)
    assert f" {paper:,} MACs" in found["what"]
    assert f" {executed:,} as executed" in found["what"]
    assert paper_cost(kind, SHAPES, STEPS, 1).macs == paper
    assert cost_of(kind, SHAPES, STEPS, 1).macs == executed
    assert (found["paper"]["rule"] == found["executed"]["rule"]) == (kind == "none")


SIZES = st.integers(1, 40)
MAPS = st.dictionaries(st.sampled_from("abc"), st.tuples(SIZES, SIZES, SIZES), min_size=1)


@settings(max_examples=60, derandomize=True)
@given(MAPS, SIZES, st.integers(1, 9))
def test_the_parts_are_what_the_rules_say(shapes: dict[str, tuple[int, int, int]], steps: int, clips: int) -> None:
    """Each product is visited where the rule says it is made: layer by layer, step by step."""
    elements = maps_once = maps_every_step = mixing = 0
    for channels, height, width in shapes.values():
        for _ in range(steps):
            elements += channels * height * width
            maps_every_step += 3 * 3 * 2 * height * width
            mixing += channels * steps  # one output step of the T x T product
        maps_once += 2 * 3 * 3 * 2 * height * width  # both groups
    assert cost_of("asa1", shapes, steps, clips) == AttentionCost(elements * clips, maps_once * clips, mixing * clips)
    assert paper_cost("asa1", shapes, steps, clips) == AttentionCost(0, maps_every_step * clips, mixing * clips)
    assert paper_cost("asa2", shapes, steps, clips) == AttentionCost(0, maps_every_step * clips)
    assert cost_of("asa2", shapes, steps, clips).macs == (elements + maps_once) * clips
    assert cost_of("tcsa", shapes, steps, clips).gate_macs == 3 * elements * clips
    assert paper_cost("sa", shapes, steps, clips) == cost_of("sa", shapes, steps, clips)
    assert type(cost_of("asa1", shapes, steps, clips).macs) is int


@pytest.mark.parametrize("kind", KINDS)
def test_clips_and_layers_only_add_up(kind: str) -> None:
    for cost in (cost_of, paper_cost):
        whole = cost(kind, SHAPES, STEPS, 5).macs
        assert whole == 5 * sum(cost(kind, {name: shape}, STEPS, 1).macs for name, shape in SHAPES.items())
        assert (whole > 0) == (kind != "none")


@pytest.mark.parametrize("kind", ["sa", "tcsa", "asa1", "asa1 reduced", "asa2"])
def test_what_is_executed_is_what_a_counter_sees_of_our_modules(kind: str) -> None:
    steps, clips, shape = 8, 2, (12, 5, 6)
    modules: dict[str, Any] = {
        "sa": SA,
        "tcsa": TCSA,
        "asa1": ASA,
        "asa1 reduced": lambda *sizes: ASA(*sizes, reduction_ratio=3),
        "asa2": lambda *sizes: ASA(*sizes, temporal_mlp=False),
    }
    x = (torch.rand(steps, clips, *shape, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    found = spikefold.energy.profile(modules[kind](steps, shape[0]), x)
    expected = cost_of(kind.split()[0], {"only": shape}, steps, clips, 3 if "reduced" in kind else 1)
    assert x.sum() > 0
    assert found.total.dense_padded == expected.map_macs + expected.mlp_macs > 0
    # masks, means and sums of groups are multiplied too, which no rule of the paper counts
    assert found.total.multiplies >= expected.gate_macs >= x.numel()


def test_a_reduced_temporal_mlp_multiplies_less_and_the_rule_says_so() -> None:
    """T = 60, r = 8: two matrices of 60 x 7 for each of the 320 channels, where r = 1 has one of 60 x 60."""
    parts = [cost_of("asa1", SHAPES, STEPS, 1, reduction) for reduction in (1, 8)]
    assert [part.mlp_macs for part in parts] == [320 * 3600, 320 * 2 * 420]
    assert parts[0].gate_macs == parts[1].gate_macs > 0
    assert "T to T/8 to T mixing" in labelled_macs("asa1", SHAPES, STEPS, 8)["what"]
