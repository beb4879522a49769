# SPDX-License-Identifier: Apache-2.0
"""What is stale once a stage has run again: everything that was made from its files, however indirectly."""

from __future__ import annotations

import pytest

from spikefold.stage_table import STAGES, computed_from, may_change

STALE = {
    "train": {"fold", "adapt", "export", "simulate", "validate", "energy", "analyse"},
    "fold": {"adapt", "export", "simulate", "validate", "energy"},
    "adapt": {"export", "simulate", "validate", "energy"},
    "export": {"simulate", "validate", "energy"},
    "simulate": {"energy"},
    "validate": set(),
    "energy": set(),
    "analyse": set(),
}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_what_is_stale_after_a_stage(stage: object) -> None:
    assert {one.name for one in computed_from(stage)} == STALE[stage.name]  # type: ignore[arg-type, attr-defined]


def test_each_stage_stands_behind_all_that_it_reads() -> None:
    names = [stage.name for stage in STAGES]
    assert set(names) == set(STALE)
    for number, stage in enumerate(STAGES):
        assert set(stage.reads) <= set(names[:number]), stage.name


def test_settings_of_what_is_stale_may_be_set_and_no_others() -> None:
    by_name = {stage.name: stage for stage in STAGES}
    assert "energy_profile" in may_change(by_name["export"])
    assert "adapt.lr" not in may_change(by_name["export"])
    assert "chips.vendor_clips" in may_change(by_name["fold"])
