# SPDX-License-Identifier: Apache-2.0
"""The tornado: hand-worked bars, longest first, and no operation priced at nothing."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.energy.statistics.sensitivity import Constant, band, constants, priced, tornado
from spikefold.errors import ConfigError

KNOWN = (Constant("mac", 3.0, 4.0, 8.0, "mine.toml:3"), Constant("ac", 1.0, 1.0, 1.0, "mine.toml:9"))
RULES = {"chip": {"mac": 10, "ac": 100}, "ann": {"mac": 500, "ac": 0}, "rate": {"mac": 0, "ac": 150}}


def test_every_bar_by_hand() -> None:
    found = tornado(RULES, "chip", KNOWN, {"loihi1": 2000.0})
    assert (found.band.low_pj, found.band.value_pj, found.band.high_pj) == (130, 140, 180)
    assert [(s.kind, s.name, s.from_pj, s.to_pj, s.where) for s in found.swings] == [
        ("profile", "loihi1", 140, 2000, ""),
        ("rule", "ann", 140, 2000, ""),
        ("constant", "mac", 130, 180, "mine.toml:3"),
        ("rule", "rate", 140, 150, ""),
        ("constant", "ac", 140, 140, "mine.toml:9"),
    ]
    assert [s.span_pj for s in found.swings] == [1860, 1860, 50, 10, 0]


def test_one_thing_at_a_time() -> None:
    both = (Constant("mac", 3.0, 4.0, 8.0), Constant("ac", 0.5, 1.0, 2.0))
    found = {swing.name: swing for swing in tornado({"chip": RULES["chip"]}, "chip", both).swings}
    assert (found["mac"].from_pj, found["mac"].to_pj) == (130, 180)
    assert (found["ac"].from_pj, found["ac"].to_pj) == (90, 240)
    assert band(RULES["chip"], both).high_pj == 280


@settings(max_examples=50, derandomize=True)
@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 10**9), min_size=1),
    st.tuples(*[st.lists(st.integers(0, 1000), min_size=3, max_size=3).map(sorted)] * 3),
)
def test_swings_of_constants_add_up_to_the_band(operations: dict[str, int], bands: tuple[list[int], ...]) -> None:
    """Energy is linear in the constants, so what each adds alone is what all add together."""
    known = tuple(Constant(name, low, value, high) for name, (low, value, high) in zip("abc", bands, strict=True))
    found = tornado({"chip": operations}, "chip", known)
    assert found.band.value_pj == sum(
        number * dict(zip("abc", bands, strict=True))[name][1] for name, number in operations.items()
    )
    assert sum(s.to_pj - s.from_pj for s in found.swings) == found.band.high_pj - found.band.low_pj
    assert sum(found.band.value_pj - s.from_pj for s in found.swings) == found.band.value_pj - found.band.low_pj
    spans = [s.span_pj for s in found.swings]
    assert spans == sorted(spans, reverse=True)


def test_a_constant_that_nothing_uses_has_no_bar() -> None:
    assert [s.name for s in tornado({"rate": RULES["rate"]}, "rate", KNOWN).swings] == ["ac"]


def test_operations_without_a_constant_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="cost nothing") as told:
        priced({"mac": 5, "neuron": 7, "bias": 0}, {"mac": 1.0, "neuron_active": 2.0})
    assert [issue.where for issue in told.value.issues] == ["neuron"]
    assert "neuron_active" in told.value.issues[0].hint


def test_a_wrong_rule_or_band_is_refused() -> None:
    with pytest.raises(ConfigError, match="no counting rule 'chips'") as told:
        tornado(RULES, "chips", KNOWN)
    assert "'chip'" in told.value.hint
    with pytest.raises(ConfigError, match="not ascending"):
        Constant("mac", 5.0, 4.0, 8.0)


def test_constants_come_from_prices_with_their_lines() -> None:
    price = SimpleNamespace(amount=4.6, bounds=(3.1, 5.0), where="horowitz45-fp32.toml:12")
    assert constants({"mac": price}) == (Constant("mac", 3.1, 4.6, 5.0, "horowitz45-fp32.toml:12"),)


def test_json_is_plain() -> None:
    written = tornado(RULES, "chip", KNOWN).to_json()
    assert written["rule"] == "chip"
    assert written["band"] == {"low_pj": 130, "value_pj": 140, "high_pj": 180}
    swings = written["swings"]
    assert isinstance(swings, list)
    assert {swing["name"] for swing in swings} == {"mac", "ac", "ann", "rate"}
