# SPDX-License-Identifier: Apache-2.0
"""Every constant by file and line: each once, in order, and none that stands in no profile."""

from __future__ import annotations

from typing import Any

import pytest

from spikefold.energy.prices.constants import constants_used
from spikefold.energy.prices.load import load_profile
from spikefold.errors import MismatchError

SPECK = load_profile("speck")


def test_each_place_once_wherever_it_stands() -> None:
    places = [price.where for _, price in SPECK.constants()]
    results: dict[str, Any] = {"a": [{"where": places[3]}, {"where": [places[0], places[3]]}], "b": {"where": ""}}
    found = constants_used(results | {"c": ({"d": {"where": places[1]}},)}, [SPECK])
    assert [one["where"] for one in found] == [places[0], places[1], places[3]]
    assert [int(one["where"].split(":")[1]) for one in found] == sorted(
        int(one["where"].split(":")[1]) for one in found
    )
    assert found[1]["name"] == "energy_pj.ac"
    assert (found[1]["value"], found[1]["unit"], found[1]["profile"]) == (60.0, "pJ", "speck")
    assert "all six rows" in found[1]["source"]


def test_lines_are_ordered_as_numbers() -> None:
    loihi = load_profile("loihi1-presilicon")
    assert loihi.time_ns is not None
    places = [loihi.time_ns.synop.where, loihi.time_ns.neuron.where]
    assert places == ["loihi1-presilicon.toml:98", "loihi1-presilicon.toml:108"]
    assert [one["where"] for one in constants_used({"where": places[::-1]}, [loihi])] == places


def test_a_place_in_no_profile_is_a_mistake() -> None:
    with pytest.raises(MismatchError, match=r"speck\.toml:1"):
        constants_used({"where": "speck.toml:1"}, [SPECK])
