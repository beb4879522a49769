# SPDX-License-Identifier: Apache-2.0
"""Where a chip's numbers come from: its own, the user's, and another chip's only under that chip's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from spikefold.energy.chip.sources import numbers_of
from spikefold.errors import ConfigError
from spikefold.hardware.registry import chips


def test_no_profile_of_another_is_a_chips_own() -> None:
    own = {name: None if one.own is None else one.own.name for name, one in numbers_of(list(chips()), {}).items()}
    assert own == {
        "speck2f": "speck",
        "speck2e": "speck",
        "dynapcnndevkit": None,
        "loihi1": "loihi1-presilicon",
        "loihi2": "loihi2",
    }
    loihi2 = numbers_of(["loihi2"], {})["loihi2"]
    assert loihi2.other is not None
    assert loihi2.other.name == "loihi1-presilicon"
    assert "Loihi 1, pre-silicon" in loihi2.label
    assert loihi2.own is not None
    assert loihi2.own.energy_pj.ac.evidence == "bounded"
    assert loihi2.own.time_ns is not None
    assert loihi2.own.time_ns.synop.bounds == (0.66, 1.02)


def test_a_choice_takes_the_place_of_what_is_published() -> None:
    found = numbers_of(["speck2f", "loihi2"], {"loihi2": "loihi1-fitted"})
    assert found["loihi2"].own is not None
    assert (found["loihi2"].own.name, found["loihi2"].other, found["loihi2"].chosen) == ("loihi1-fitted", None, True)
    assert not found["speck2f"].chosen


def test_every_wrong_choice_is_told_at_once() -> None:
    chosen = {"speck": "speck", "speck2f": "horowitz45-fp32", "loihi2": "odin"}
    with pytest.raises(ConfigError, match="no chip's power") as told:
        numbers_of(["speck2f", "loihi2"], chosen)
    assert [issue.where for issue in told.value.issues] == [
        "chips.power.speck",
        "chips.power.speck2f",
        "chips.power.loihi2",
    ]
    text = str(told.value)
    assert "Did you mean 'speck2f'?" in text
    assert "nothing in horowitz45-fp32" in text
    assert "power that grows with a clock in odin" in text
    with pytest.raises(ConfigError, match="unknown technology profile"):
        numbers_of(["speck2f"], {"speck2f": "spekc"})


def test_an_energy_that_holds_rest_already_is_refused_before_it_is_added(tmp_path: Path) -> None:
    import spikefold.energy.prices.load as module

    house = Path(module.__file__).parent / "profiles" / "loihi1-presilicon.toml"
    mine = tmp_path / "mine.toml"
    mine.write_text(
        house.read_text(encoding="utf-8").replace('kind = "marginal"', 'kind = "all-in"'), encoding="utf-8"
    )
    with pytest.raises(ConfigError, match="holds it already"):
        numbers_of(["loihi1"], {"loihi1": str(mine)})
