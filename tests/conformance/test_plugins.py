# SPDX-License-Identifier: Apache-2.0
"""A package's chip that does not load, is none, or takes a name that is taken is an error that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from spikefold.errors import EnvironmentLacksError
from spikefold.hardware.registry import chip_named, chips
from tests.conformance.plugged import MADEUP, on_the_path

CHIP = """
from spikefold.export.neuron import Overflow, Reset
from spikefold.export.numbers import NumberFormat
from spikefold.hardware.chip import Chip
NUMBERS = NumberFormat(8, 8, 100, 16, Overflow.FORBID, frozenset({Reset.ZERO}))
"""


def _package(folder: Path, point: str, source: str, name: str = "oddity") -> Path:
    """A package with one entry point."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[spikefold.chips]\n{point}\n")
    (folder / f"{name}_chip.py").write_text(source)
    return folder


@pytest.mark.parametrize(
    ("point", "source", "said"),
    [
        ("x1 = nowhere_chip:X", "", "'x1'.*package oddity does not load: ModuleNotFoundError: .*nowhere_chip"),
        ("x2 = oddity_chip:X", "", "'x2'.*does not load: AttributeError"),
        ("x3 = oddity_chip:X", "X = (", "'x3'.*does not load: SyntaxError"),
        ("x4 = oddity_chip:X", "X = 1 / 0", "'x4'.*does not load: ZeroDivisionError"),
        ("x5 = oddity_chip:X", "X = 'chip'", "'x5' is no Chip but str"),
        ("x6 = oddity_chip:X", CHIP + "X = Chip('X6', 'x', NUMBERS, list, ('mask',))", "'X6' is no name of a chip"),
        (
            "x7 = oddity_chip:X",
            CHIP + "X = Chip('x7', 'x', NUMBERS, list, ())",
            "x7 carries no form of a static gate",
        ),
        ("x8 = oddity_chip:X", CHIP + "X = Chip('y8', 'x', NUMBERS, list, ('mask',))", "'y8' under the name 'x8'"),
        ("loihi2 = oddity_chip:X", CHIP + "X = Chip('loihi2', 'x', NUMBERS, list, ('mask',))", "one of that name"),
        ("madeup = oddity_chip:X", CHIP + "X = Chip('madeup', 'x', NUMBERS, list, ('mask',))", "one of that name"),
    ],
)
def test_it_is_an_error_that_names_it(
    point: str, source: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _package(tmp_path, point, source)
    monkeypatch.delitem(__import__("sys").modules, "oddity_chip", raising=False)
    with on_the_path(MADEUP, folder), pytest.raises(EnvironmentLacksError, match=f"(?s){said}") as told:
        chips()
    assert point.split(" = ")[0] in told.value.where
    assert told.value.hint
    assert told.value.exit_code == 4


def test_a_sound_one_is_there_as_long_as_its_package_is(tmp_path: Path) -> None:
    source = CHIP + "X = Chip('sound', 'x', NUMBERS, lambda network: [], ('mask',))"
    folder = _package(tmp_path, "sound = sound_chip:X", source, "sound")
    with on_the_path(folder):
        assert chip_named("sound").numbers.weight_bits == 8
    assert "sound" not in chips()
