# SPDX-License-Identifier: Apache-2.0
"""Null, noise, normal and ghost features on maps made by hand, whose kinds are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from spikefold.errors import ConfigError, SpikefoldError
from spikefold.train.analysis.background import foreground, seen_through
from spikefold.train.analysis.features import KINDS, Background, Rules, ghosts, patterns
from spikefold.train.analysis.firing_rates import LayerFiring

CLIPS = 10
FRONT = np.zeros((4, 4), bool)
FRONT[1:3, 1:3] = True
"""Foreground of every clip: 4 of 16 positions."""


def _layer(*maps: np.ndarray | list[list[int]]) -> tuple[LayerFiring, Background]:
    """One step with a channel for each map of counts ``(4, 4)``, the background where `FRONT` is not."""
    fired = np.array(maps, np.int64)[None]
    return LayerFiring(fired, CLIPS), Background(12 * CLIPS, fired[..., ~FRONT].sum(axis=2))


def _map(front: int, behind: int) -> np.ndarray:
    return np.where(FRONT, front, behind)


def _kinds(firing: LayerFiring, background: Background, rules: Rules) -> list[str]:
    return [KINDS[code] for code in patterns(firing, background, rules)[0]]


def test_kinds_of_maps_made_by_hand() -> None:
    maps = {
        "silent": (_map(0, 0), "null"),
        "object alone": (_map(8, 0), "normal"),
        "uniform": (_map(5, 5), "noise"),
        "background alone": (_map(0, 5), "noise"),
        "half as much behind": (_map(8, 4), "noise"),
        "a little less than half": (_map(9, 4), "normal"),
    }
    firing, background = _layer(*(found for found, _ in maps.values()))
    assert dict(zip(maps, _kinds(firing, background, Rules()), strict=True)) == {
        name: kind for name, (_, kind) in maps.items()
    }


def test_a_channel_is_null_up_to_its_rate() -> None:
    one = np.zeros((4, 4), np.int64)
    one[0, 0] = 1  # one spike of 16 neurons in 10 clips
    layer = _layer(one, _map(1, 0))
    assert _kinds(*layer, Rules(null=0.0)) == ["noise", "normal"]
    assert _kinds(*layer, Rules(null=1 / 160)) == ["null", "normal"]
    assert _kinds(*layer, Rules(null=4 / 160)) == ["null", "null"]


def test_without_background_or_without_foreground() -> None:
    firing = LayerFiring(np.full((1, 1, 4, 4), 5), CLIPS)
    assert _kinds(firing, Background(0, np.zeros((1, 1), np.int64)), Rules()) == ["normal"]
    assert _kinds(firing, Background(160, firing.fired.sum(axis=(2, 3))), Rules()) == ["noise"]


def test_each_step_is_judged_for_itself() -> None:
    fired = np.array([[_map(8, 0)], [_map(0, 0)], [_map(8, 8)]], np.int64)
    background = Background(120, fired[..., ~FRONT].sum(axis=2))
    assert patterns(LayerFiring(fired, CLIPS), background, Rules()).ravel().tolist() == [2, 0, 1]


def test_ghosts_are_all_of_a_family_but_the_first() -> None:
    left, right = np.zeros((4, 4), np.int64), np.zeros((4, 4), np.int64)
    left[:, 0], right[:, 3] = 6, 6
    nearly = left.copy()
    nearly[0, 3] = 2  # cosine 12 / sqrt(148), 0.986
    half = left.copy()
    half[:, 3] = 6  # cosine 1 / sqrt(2) with both sides
    firing, _ = _layer(left, right, _map(0, 0), left // 2, nearly, half, _map(0, 0))
    assert ghosts(firing, Rules()).tolist() == [[False, False, False, True, True, False, False]]
    assert ghosts(firing, Rules(ghost=0.99)).tolist() == [[False, False, False, True, False, False, False]]
    assert ghosts(firing, Rules(ghost=1.0)).tolist() == [[False, False, False, True, False, False, False]]
    # at 0.7 the map of both sides links left and right: one family of five
    assert ghosts(firing, Rules(ghost=0.7)).tolist() == [[False, True, False, True, True, True, False]]


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 0.8, 0.95, 1.0]))
@settings(derandomize=True, max_examples=40)
def test_ghosts_equal_a_search_and_do_not_depend_on_the_order(seed: int, similarity: float) -> None:
    rng = np.random.default_rng(seed)
    maps = rng.integers(0, 3, (8, 2, 2)) * rng.integers(0, 2, (8, 1, 1))
    firing, rules = LayerFiring(maps[None].astype(np.int64), CLIPS), Rules(ghost=similarity)
    shuffled = LayerFiring(maps[None, rng.permutation(8)].astype(np.int64), CLIPS)
    assert ghosts(firing, rules).sum() == ghosts(shuffled, rules).sum()
    expected, seen = [], set()
    for start in range(8):
        expected.append(start in seen)
        reached = [start]
        while reached:
            one = reached.pop()
            seen.add(one)
            reached += [k for k in range(8) if k not in seen and _alike(maps[one], maps[k], similarity)]
    assert ghosts(firing, rules)[0].tolist() == expected


def _alike(a: np.ndarray, b: np.ndarray, similarity: float) -> bool:
    product, squares = int((a * b).sum()), int((a * a).sum()) * int((b * b).sum())
    return product > 0 and product**2 >= similarity**2 * squares


def test_rules_outside_their_ranges_are_all_named() -> None:
    with pytest.raises(ConfigError) as caught:
        Rules(background=-0.1, null=1.0, noise=0.0, ghost=1.5)
    assert [issue.where for issue in caught.value.issues] == ["background", "null", "noise", "ghost"]


def test_foreground_pixels_have_more_than_their_share_of_events() -> None:
    frames = torch.zeros(2, 2, 2, 3, 4)
    frames[0, 0, 1, 0, 0], frames[1, 0, 0, 0, 0], frames[1, 0, 0, 2, 3] = 20, 3, 1  # 24 events on 12 pixels
    frames[0, 1] = 1  # every pixel alike
    whole, strict = foreground(frames, 0.5), foreground(frames, 0.0)
    assert whole.shape == (2, 1, 3, 4)
    assert torch.argwhere(whole[0, 0]).tolist() == [[0, 0]]  # one event is not more than half of two
    assert torch.argwhere(strict[0, 0]).tolist() == [[0, 0], [2, 3]]
    assert whole[1].sum() == strict[1].sum() == 12
    assert foreground(frames, 1.0)[1].sum() == 0


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(1, 3, 3, padding=1),
        nn.Conv2d(1, 1, 4, 2, 1),
        nn.Conv2d(1, 1, (3, 5), (1, 2), (0, 2), dilation=(2, 1)),
        nn.AvgPool2d(2),
        nn.MaxPool2d(3, 2),
    ],
)
def test_a_window_sees_a_pixel_if_its_output_depends_on_it(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
    pixels = (torch.rand(20, 1, 9, 9, generator=torch.Generator().manual_seed(1)) < 0.04).float()
    with torch.no_grad():
        expected = module(pixels)[:, :1] > 0
    found = seen_through(module, pixels)
    assert torch.equal(found > 0, expected)
    assert 0 < expected.sum() < expected.numel()
    assert set(found.unique().tolist()) == {0.0, 1.0}


def test_other_layers_let_pixels_pass_and_padding_by_name_is_refused() -> None:
    pixels = torch.ones(1, 1, 4, 4)
    assert seen_through(nn.BatchNorm2d(1), pixels) is pixels
    with pytest.raises(SpikefoldError, match="same"):
        seen_through(nn.Conv2d(1, 1, 3, padding="same"), pixels)
