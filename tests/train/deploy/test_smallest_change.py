# SPDX-License-Identifier: Apache-2.0
"""The search is exact: against trying every setting, and against growing by one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.errors import Issue, UnsupportedError
from spikefold.train.deploy.smallest_change import SearchAxis, Setting, halvings, smallest_change


def _layer(index: int) -> str:
    return f"layer{index}"


def _chain(counts: list[int], prices: list[float], *, grow: bool) -> list[SearchAxis]:
    """Layer i takes ``count[i-1] * count[i]`` words; the last count is a stride, 1 to 8, that divides them all."""
    axes = [
        SearchAxis(f"count{i}", halvings(count), price, frozenset({_layer(i), _layer(i + 1)}), counts=grow)
        for i, (count, price) in enumerate(zip(counts, prices, strict=False))
    ]
    everything = frozenset(_layer(i) for i in range(len(counts) + 1))
    return [*axes, SearchAxis("stride", (1, 2, 4, 8), prices[-1], everything)]


def _check(limits: list[int], tried: list[Setting]) -> Callable[[Setting], list[Issue]]:
    def check(setting: Setting) -> list[Issue]:
        tried.append(setting)
        *counts, stride = setting
        words = [a * b // stride for a, b in zip([1, *counts], [*counts, 1], strict=True)]
        return [
            Issue("fits", _layer(i), str(used), str(limit), "")
            for i, (used, limit) in enumerate(zip(words, limits, strict=False))
            if used > limit
        ]

    return check


def _cost(axes: list[SearchAxis], setting: Setting) -> float:
    steps = [axis.values.index(value) for axis, value in zip(axes, setting, strict=True)]
    return sum(axis.price * n * (n + 1) / 2 for axis, n in zip(axes, steps, strict=True))


_problems = st.integers(1, 4).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(1, 40), min_size=n, max_size=n),
        st.lists(st.integers(4, 300), min_size=n + 1, max_size=n + 1),
        st.lists(st.sampled_from([0.25, 1.0, 2.0]), min_size=n + 1, max_size=n + 1),
    )
)


@settings(derandomize=True, max_examples=80)
@given(_problems)
def test_no_setting_that_fits_is_cheaper(problem: tuple[list[int], list[int], list[float]]) -> None:
    counts, limits, prices = problem
    tried: list[Setting] = []
    axes = _chain(counts, prices, grow=False)
    check = _check(limits, tried)
    found = smallest_change(axes, check)
    looked_at = len(tried)
    assert not check(found)
    fitting = [setting for setting in product(*(axis.values for axis in axes)) if not check(setting)]
    assert fitting
    assert _cost(axes, found) == min(_cost(axes, setting) for setting in fitting)
    assert looked_at <= len(list(product(*(axis.values for axis in axes))))


@settings(derandomize=True, max_examples=80)
@given(_problems)
def test_a_count_is_grown_back_until_one_more_is_too_many(
    problem: tuple[list[int], list[int], list[float]],
) -> None:
    counts, limits, prices = problem
    axes = _chain(counts, prices, grow=True)
    check = _check(limits, [])
    found = smallest_change(axes, check)
    coarse = smallest_change(_chain(counts, prices, grow=False), check)
    assert not check(found)
    assert found[-1] == coarse[-1]
    for index, count in enumerate(counts):
        assert coarse[index] <= found[index] <= count
        if found[index] < count:
            assert check((*found[:index], found[index] + 1, *found[index + 1 :]))


def test_most_of_the_lattice_is_never_looked_at_where_only_one_layer_is_too_large() -> None:
    axes = _chain([64] * 8, [1.0] * 9, grow=False)
    tried: list[Setting] = []
    # layer 4 alone has too little; the stride would do for all of them but is dear
    limits = [4096] * 4 + [1024] + [4096] * 4
    found = smallest_change(
        [*axes[:-1], SearchAxis("stride", (1, 2, 4, 8), 9.0, axes[-1].touches)], _check(limits, tried)
    )
    assert found == (64, 64, 64, 32, 32, 64, 64, 64, 1)
    assert len(tried) < 10


def test_what_fits_stays_as_it_is_and_is_looked_at_once() -> None:
    tried: list[Setting] = []
    assert smallest_change(_chain([5, 7], [1.0] * 3, grow=True), _check([99] * 3, tried)) == (5, 7, 1)
    assert len(tried) == 1


def test_no_change_fits_names_what_is_broken_now() -> None:
    with pytest.raises(
        UnsupportedError, match="no change of count0, stride makes it fit: none of them does"
    ) as caught:
        smallest_change(_chain([16], [1.0] * 2, grow=False), _check([-1, 99], []))
    assert [(issue.where, issue.got, issue.limit) for issue in caught.value.issues] == [("layer0", "16", "-1")]


def test_a_broken_rule_without_a_step_left_ends_the_search_there() -> None:
    tried: list[Setting] = []

    def check(setting: Setting) -> list[Issue]:
        tried.append(setting)
        return [Issue("large", "a", "", "", ""), Issue("fixed", "b", "", "", "")]

    axes = [
        SearchAxis("a", tuple(range(50, 0, -1)), 1.0, frozenset({"a"})),
        SearchAxis("b", (1,), 1.0, frozenset({"b"})),
    ]
    with pytest.raises(UnsupportedError, match="none of them"):
        smallest_change(axes, check)
    assert set(tried) == {(50, 1)}


def test_a_rule_about_everything_and_a_setting_that_makes_nothing() -> None:
    def check(setting: Setting) -> list[Issue] | None:
        if setting[0] == 2:
            return None  # a hole in the lattice
        return [] if sum(setting) <= 5 else [Issue("sum", "network", str(sum(setting)), "5", "")]

    axes = [SearchAxis(name, (4, 2, 1), price, frozenset({name})) for name, price in (("a", 0.1), ("b", 1.0))]
    assert smallest_change(axes, check) == (4, 1)


def test_halvings() -> None:
    assert halvings(64) == (64, 32, 16, 8, 4, 2, 1)
    assert halvings(5) == (5, 3, 2, 1)
    assert halvings(1) == (1,)
