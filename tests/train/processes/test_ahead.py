# SPDX-License-Identifier: Apache-2.0
"""What is made ahead comes in order, one step before it is asked for, and its errors come where they are due."""

from __future__ import annotations

import threading

import pytest

from spikefold.train.processes.ahead import made_ahead


def test_everything_comes_in_order_and_one_is_ahead() -> None:
    begun: list[int] = []
    second = threading.Event()

    def make(one: int) -> int:
        begun.append(one)
        if one == 1:
            second.set()
        return one * one

    found = made_ahead(make, range(5))
    assert next(found) == (0, 0)
    assert second.wait(30), "the next is begun although nobody has asked for it"
    assert list(found) == [(1, 1), (2, 4), (3, 9), (4, 16)]
    assert begun == [0, 1, 2, 3, 4]
    assert list(made_ahead(make, [])) == []


def test_an_error_is_raised_in_its_turn() -> None:
    def make(one: int) -> float:
        return 1 / one

    found = made_ahead(make, [2, 0, 1])
    assert next(found) == (2, 0.5)
    with pytest.raises(ZeroDivisionError):
        next(found)


def test_no_thread_stays_where_one_stops_early() -> None:
    before = threading.active_count()
    found = made_ahead(str, range(1000))
    assert next(found) == (0, "0")
    found.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
