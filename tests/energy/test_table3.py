# SPDX-License-Identifier: Apache-2.0
"""Table 3 of the paper: what comes out as printed, under which assumptions, and what does not."""

from __future__ import annotations

import inspect
from fractions import Fraction

import numpy as np
import pytest

from spikefold.energy.table3 import (
    FIRST_LAYER,
    NOT_DERIVABLE,
    OTHER_LAYERS,
    RATE_GAIT,
    RATE_GESTURE,
    SHAPES,
    STEPS,
    Row,
    energy_saved,
    table3,
)
from spikefold.export.fanout import dense_padded
from spikefold.export.ops import Conv2d, Dense, Shape
from spikefold.stages.verbs.layer_table import layer_table as parameters
from spikefold.train.models.architectures import architecture

ROWS = table3()
TCSA, ASA, HONEST = (Fraction(n) for n in (27_300_000, 2_600_000, 7_590_144))


def test_the_dense_operations_are_those_of_arch_a() -> None:
    layers: list[tuple[Conv2d | Dense, Shape]] = [
        (Conv2d(np.ones((64, 2, 3, 3)), None, (1, 1), (1, 1)), (2, 32, 32)),
        (Conv2d(np.ones((128, 64, 3, 3)), None, (1, 1), (1, 1)), (64, 32, 32)),
        (Conv2d(np.ones((128, 128, 3, 3)), None, (1, 1), (1, 1)), (128, 16, 16)),
        (Dense(np.ones((256, 8192))), (128, 8, 8)),
        (Dense(np.ones((11, 256))), (256, 1, 1)),
    ]
    dense = [dense_padded(op, shape) for op, shape in layers]
    assert dense[0] == FIRST_LAYER
    assert sum(dense[1:]) == OTHER_LAYERS == 115_346_176


@pytest.mark.parametrize(
    ("module", "attention", "classes"),
    [("vanilla", "none", 11), ("SA", "sa", 11), ("TCSA", "tcsa", 11), ("ASA-1", "asa1", 11), ("ASA-2", "asa2", 11)],
)
def test_the_parameters_are_those_of_the_modules_that_are_trained(module: str, attention: str, classes: int) -> None:
    counted = parameters(architecture("a", classes, attention))["parameters"]
    rows = {(row.module, row.counted): row for row in ROWS if row.unit == "parameters"}
    base = int(rows["vanilla", "paper"].computed)
    found = rows[module, "paper"]
    assert counted == int(found.computed) + (0 if module == "vanilla" else base)
    assert found.agrees
    assert (base, len(rows)) == (2_323_531, 7)


def test_where_the_printed_parameters_are_of_another_network() -> None:
    rows = {row.module: row for row in ROWS if row.unit == "parameters" and row.counted == "executed"}
    assert {name: (int(row.computed), row.agrees) for name, row in rows.items()} == {
        "vanilla": (2_325_844, False),
        "ASA-1": (5_514, False),
    }
    assert parameters(architecture("a", 20, "none"))["parameters"] == 2_325_844
    assert all(row.note for row in rows.values())


def test_the_added_macs() -> None:
    found = [(row.module, row.counted, int(row.computed), row.agrees) for row in ROWS if row.unit == "MAC"]
    assert found == [
        ("SA", "paper", 14_292_480, True),
        ("TCSA", "paper", 27_072_000, False),
        ("TCSA", "paper", 27_119_664, False),
        ("TCSA", "paper", 27_262_656, True),
        ("ASA-1", "paper", 2_603_520, True),
        ("ASA-2", "paper", 1_451_520, False),
        ("ASA", "paper", 2_352_384, True),
        ("ASA-1", "executed", 7_590_144, False),
        ("ASA-1", "executed", 13_979_904, False),
        ("ASA-2", "executed", 6_438_144, False),
    ]
    assert [row.computed for row in ROWS if (row.module, row.unit) == ("SA", "MAC")] == [
        sum(STEPS * (98 * h * w + c * h * w) for c, h, w in SHAPES.values())
    ]


@pytest.mark.parametrize(
    ("rate", "nonzero", "added", "percent"),
    [
        # facts, asa_snn 4: computed there apart from this code
        (RATE_GAIT, "0", TCSA, 69.5),
        (RATE_GAIT, "0", ASA, 78.0),
        (RATE_GAIT, "0", HONEST, 76.3),
        (RATE_GAIT, "0.05", TCSA, 68.6),
        (RATE_GAIT, "0.05", ASA, 77.1),
        (RATE_GAIT, "0.1", TCSA, 67.8),
        (RATE_GAIT, "0.1", ASA, 76.1),
        (RATE_GAIT, "1", TCSA, 55.8),
        (RATE_GAIT, "1", ASA, 62.7),
        (RATE_GESTURE, "0.075", ASA, 76.1),
        (RATE_GESTURE, "0.1", TCSA, 65.5),
        (RATE_GESTURE, "0.1", ASA, 75.6),
    ],
)
def test_the_saved_energy(rate: Fraction, nonzero: str, added: Fraction, percent: float) -> None:
    assert round(100 * float(energy_saved(rate, Fraction(nonzero), added)), 1) == percent


def _percent(rate: Fraction, nonzero: Fraction) -> tuple[int, int]:
    return round(100 * energy_saved(rate, nonzero, TCSA)), round(100 * energy_saved(rate, nonzero, ASA))


def test_both_percentages_come_out_at_the_rate_of_another_data_set_only() -> None:
    pairs = {}
    rows = [row for row in ROWS if row.unit == "%" and row.counted == "paper"]
    for tcsa, asa in zip(rows[::2], rows[1::2], strict=True):
        assert (tcsa.module, asa.module) == ("TCSA", "ASA")
        pairs[tcsa.assumptions.split(", drop")[0]] = tcsa.agrees and asa.agrees
    assert list(pairs.values()) == [False, False, False, False, False, True]
    assert list(pairs)[-1].endswith("(Gesture's NASFR, on Gait-day), share of nonzero input 0.1")
    shares = [Fraction(n, 10_000) for n in range(0, 10_001, 2)]
    assert not [share for share in shares if _percent(RATE_GAIT, share) == (65, 76)]
    fitting = [share for share in shares if _percent(RATE_GESTURE, share) == (65, 76)]
    assert (fitting[0], fitting[-1]) == (Fraction("0.1"), Fraction("0.1028"))


def test_one_rate_for_all_layers_that_gives_both_lies_where_the_note_says() -> None:
    shares = [Fraction(n, 1000) for n in range(200)]
    rates = [Fraction(n, 1000) for n in range(146, 184, 2)]
    found = [(rate, share) for rate in rates for share in shares if _percent(rate, share) == (65, 76)]
    assert (float(min(rate for rate, _ in found)), float(max(rate for rate, _ in found))) == (0.152, 0.176)
    assert (float(min(share for _, share in found)), float(max(share for _, share in found))) == (0.044, 0.102)
    (row,) = [row for row in ROWS if row.unit == "rate" and "share" not in row.assumptions]
    assert "between 0.152 and 0.176" in row.note


def test_what_both_percentages_together_say() -> None:
    solved = [row for row in ROWS if row.counted == "solved"]
    energy, acs, rate, share = (float(row.computed) for row in solved)
    assert energy == pytest.approx(1033, abs=0.5)
    assert acs == pytest.approx(1.12e9, abs=5e6)
    assert rate == pytest.approx(0.162, abs=5e-4)
    assert share == pytest.approx(0.07, abs=5e-4)
    assert all(row.agrees is None for row in solved)
    # turned round once more, they give what is printed, exactly
    back = [energy_saved(solved[2].computed, solved[3].computed, added) for added in (TCSA, ASA)]
    assert back == [Fraction(65, 100), Fraction(76, 100)]


def test_every_row_says_how_it_was_counted_and_what_cannot_be_known_is_listed() -> None:
    assert not inspect.signature(table3).parameters
    assert table3() == ROWS
    assert len(ROWS) == 7 + 10 + 18 + 4
    assert all(row.assumptions for row in ROWS)
    assert len(NOT_DERIVABLE) == 5
    assert "firing rate of each layer" in NOT_DERIVABLE[0]


def test_a_report_gets_plain_values() -> None:
    values = ROWS[7].to_json()
    assert (values["computed"], values["printed"], values["agrees"]) == (14_292_480, 14.3, True)
    assert isinstance(ROWS[17].to_json()["computed"], float)
    assert Row("x", "solved", "y", "uJ", Fraction(1, 3)).to_json()["printed"] is None
