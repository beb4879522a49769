# SPDX-License-Identifier: Apache-2.0
"""Sums over a fan-out map: equal to plain integer arithmetic, wide or narrow, whatever the memory looks like."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.energy.live.tap_map import TapMap
from spikefold.energy.live.values import Tag, Tags

LEVELS = {"binary": (0, 1), "graded": (0, 1, 2, 7), "signed": (-2, -1, 0, 1), "analog": (0, 0.25, -1.5, np.inf)}
CPU = torch.device("cpu")


def _by_integers(values: np.ndarray, taps: np.ndarray) -> int:
    rows = values.reshape(-1, taps.size).astype(object)
    return int((rows * taps.reshape(-1).astype(object)).sum())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(sorted(LEVELS)),
    largest=st.sampled_from([0, 1, 9, 2**22]),
    positions=st.integers(1, 40),
    rows=st.integers(1, 5),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.int64]),
    seed=st.integers(0, 2**31),
    told=st.booleans(),
)
def test_counts_equal_integer_arithmetic(
    kind: str, largest: int, positions: int, rows: int, dtype: torch.dtype, seed: int, told: bool
) -> None:
    rng = np.random.default_rng(seed)
    if dtype == torch.int64 and kind == "analog":
        kind = "signed"
    values = rng.choice(LEVELS[kind], (rows, positions))
    taps = rng.integers(0, largest + 1, positions)
    x = torch.tensor(values, dtype=torch.float64).to(dtype)
    tag = Tags().of(x) if told else None
    found = TapMap(taps, 0, CPU).count(x, tag)
    assert found.tag == Tags().of(x)
    assert found.pairs == _by_integers(values != 0, taps)
    assert found.non_binary == int((~np.isin(values, (0, 1))).sum())
    if found.tag.kind != "analog":
        assert found.events == _by_integers(np.abs(values).astype(np.int64), taps)
    by_torch = TapMap(taps, 0, CPU)._by_torch(x, found.tag)  # what other devices run
    assert by_torch == found


def test_sums_beyond_float32_are_exact() -> None:
    taps = np.full(2**13, 2**12 - 1)
    taps[0] = 1  # not uniform, so that values are read
    for dtype in (torch.float32, torch.float64):
        x = torch.ones(3, 2**13, dtype=dtype)
        found = TapMap(taps, 0, CPU).count(x, None)
        assert found.pairs == found.events == 3 * int(taps.sum()) > 2**24
        assert found.pairs % 2 == 1 or int(taps.sum()) % 2 == 0
        graded = TapMap(taps, 0, CPU).count(x * 1001, None)
        assert (graded.pairs, graded.events) == (found.pairs, 1001 * found.pairs)


def test_pooled_events_are_recovered_by_rounding() -> None:
    sums = torch.randint(0, 10, (4, 50), generator=torch.Generator().manual_seed(0)).float()
    taps = np.arange(50)
    found = TapMap(taps, 0, CPU).count(sums / 9, Tag("graded", factor=9, most=9))
    assert found.events == _by_integers(sums.long().numpy(), taps) > found.pairs > 0
    assert found.pairs == _by_integers(sums.numpy() > 0, taps)
    assert found.non_binary == int((sums % 9 != 0).sum())


@pytest.mark.parametrize("told", [False, True])
def test_any_layout_in_memory(told: bool) -> None:
    whole = (torch.rand(6, 8, 10, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    taps = np.arange(80).reshape(8, 10)
    expected = _by_integers(whole.numpy(), taps)
    layouts = {
        "transposed": whole.permute(2, 0, 1).contiguous().permute(1, 2, 0),
        "every other": whole.repeat_interleave(2, 0)[::2],
        "gradients": whole.clone().requires_grad_(),
        "negative": torch.complex(whole, -whole).conj().imag,
    }
    for name, x in layouts.items():
        assert torch.equal(x.detach(), whole), name
        found = TapMap(taps, 0, CPU).count(x, Tags().of(x) if told else None)
        assert found.pairs == found.events == expected > 0, name
        assert found.tag.ones == int(whole.sum())


def test_a_uniform_map_needs_no_second_look() -> None:
    x = torch.zeros(3, 4)
    tag = Tag("binary", most=1, ones=5)  # not true of x: so it is the tag that is used
    assert TapMap(np.full(4, 3), 0, CPU).count(x, tag).pairs == 15
    assert TapMap(np.array([3, 3, 3, 2]), 0, CPU).count(x, tag).pairs == 0
    assert TapMap(np.full(4, 3), 0, CPU).count(torch.zeros(0, 4), None).pairs == 0
