# SPDX-License-Identifier: Apache-2.0
"""``spikefold chips``: the manual is the docstrings of the functions that check, and nothing else."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from spikefold.commands.tables import show
from spikefold.errors import UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.chip import Rule, Table, rules_of
from spikefold.hardware.chip_tables import details, overview
from spikefold.hardware.loihi import chip as loihi
from spikefold.hardware.loihi import rules as loihi_rules
from spikefold.hardware.registry import chips
from spikefold.hardware.simulators import reference
from spikefold.hardware.speck import rules as speck_rules
from spikefold.hardware.speck.cores import CORES
from spikefold.pipeline import app

SPECK = (*speck_rules.NETWORK_RULES, *speck_rules.CORE_RULES)
FUNCTIONS = dict.fromkeys(("speck2f", "speck2e", "dynapcnndevkit"), SPECK) | {
    "loihi2": loihi_rules.RULES,
    "loihi1": (*loihi.LOIHI1_LAYER_RULES, loihi.a_core_holds_a_part),
}
NO_FILES = {"dynapcnndevkit", "loihi1"}


def _lines(*arguments: str) -> list[str]:
    done = CliRunner().invoke(app, ["chips", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().split("  ") if cell.strip()]


def test_one_line_a_chip() -> None:
    title, header, *rows = _lines()
    assert title == "chips:"
    assert _cells(header) == ["chip", "title", "weight bits", "state bits", "gate forms", "cores", "files"]
    assert [_cells(row) for row in rows] == [
        ["speck2f", "SynSense Speck2f", "8", "16", "channel, mask", "9", "written"],
        ["speck2e", "SynSense Speck2e", "8", "16", "channel, mask", "9", "written"],
        ["dynapcnndevkit", "SynSense DYNAP-CNN devkit", "8", "16", "channel, mask", "9", "none"],
        ["loihi2", "Intel Loihi 2", "8", "24", "channel, mask", "not placed", "written"],
        ["loihi1", "Intel Loihi 1", "8", "24", "channel, mask", "not placed", "none"],
    ]


@pytest.mark.parametrize("name", chips())
def test_every_rule_is_a_docstring_and_every_docstring_a_row(name: str) -> None:
    rules = details(chips()[name])[0]
    texts = [text for _, text in rules.rows]
    assert texts == [" ".join(str(function.__doc__).replace("``", "").split()) for function in FUNCTIONS[name]]
    assert len(set(rules.rows)) == len(rules.rows) > 5
    printed = _lines(name)
    for rule, text in rules.rows:
        assert any(_cells(line) == [rule, text] for line in printed), text


def test_numbers_and_memory_of_speck() -> None:
    cells = [_cells(line) for line in _lines("speck2f")]
    for row in (
        ["weight", "8 bits: -128 to 127"],
        ["threshold", "at most 32767"],
        ["state", "16 bits, unit 1/1, overflow: forbid"],
        ["lower bound of the state", "-16384"],
        ["leak", "none"],
        ["reset", "subtract, zero"],
        ["spikes of a neuron in a step", "any number"],
    ):
        assert row in cells
    for number, core in enumerate(CORES):
        assert [str(number), str(core.kernel), str(core.neuron), str(core.bias)] in cells


def test_numbers_of_loihi_and_no_memory() -> None:
    lines = _lines("loihi2")
    cells = [_cells(line) for line in lines]
    for row in (
        ["bias", "12 bits: -2048 to 2047"],
        ["state", "24 bits, unit 1/128, overflow: saturate"],
        ["leak", "keep / 2^12"],
        ["a leaky neuron fires where", "state > threshold"],
        ["spikes of a neuron in a step", "at most 1"],
        ["sum of a neuron's input in a step", "at most 65535"],
    ):
        assert row in cells
    assert not any("memory of the cores" in line for line in lines)


def test_every_chip_with_files_has_the_simulator_of_its_vendor() -> None:
    files = {name for name, chip in chips().items() if chip.lower is not None}
    simulators = {name for name, chip in chips().items() if chip.vendor_simulator is not None}
    assert files == simulators == set(chips()) - NO_FILES
    for name in NO_FILES:
        with pytest.raises(UnsupportedError, match="nothing here writes files") as told:
            chips()[name].require_files()
        assert told.value.where == name


def test_a_network_goes_to_speck2e_as_to_speck2f(tmp_path: Path) -> None:
    weight = np.random.default_rng(3).normal(0.2, 0.2, (4, 2, 3, 3))
    layers = (Layer("c", Conv2d(weight)), Layer("n", Neuron(np.array(1.0))))
    network = Network(InputSpec((2, 8, 8), 1000, 4), layers, 1)
    integer, _ = quantise(network, chips()["speck2e"].numbers)
    documents = {}
    for chip in ("speck2e", "speck2f"):
        (tmp_path / chip).mkdir()
        (name,) = chips()[chip].require_files()(network, integer, tmp_path / chip).files
        documents[chip] = json.loads((tmp_path / chip / name).read_text())
    assert documents["speck2e"].pop("device") == "speck2edevkit"
    assert documents["speck2f"].pop("device") == "speck2fdevkit"
    assert documents["speck2e"] == documents["speck2f"]
    frames = np.random.default_rng(4).poisson(0.4, (4, 2, 2, 8, 8))
    simulators = [chips()[chip].vendor_simulator for chip in ("speck2e", "speck2f")]
    traces = [simulator(network, integer)(frames) for simulator in simulators if simulator is not None]
    assert len(traces) == 2
    assert traces[0].layers["n"].spikes == reference.run(integer, frames).layers["n"].spikes > 50
    np.testing.assert_array_equal(traces[0].layers["n"].raster, traces[1].layers["n"].raster)
    wide = Network(InputSpec((2, 8, 8), 1000, 4), (Layer("c", Conv2d(weight, stride=(3, 3))), layers[1]), 1)
    with pytest.raises(UnsupportedError, match="does not fit Speck2e"):
        chips()["speck2e"].require_files()(wide, wide, tmp_path)


def test_an_unknown_chip_gets_the_nearest() -> None:
    done = CliRunner().invoke(app, ["chips", "speck2g"])
    assert done.exit_code == 2
    assert "unknown chip 'speck2g'" in done.output
    assert "Did you mean 'speck2" in done.output


def test_a_terminal_gets_frames_and_the_same_words() -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=200, color_system=None)
    for table in (overview(chips().values()), *details(chips()["speck2f"]), *details(chips()["loihi2"])):
        show(table, screen)
    written = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "┃" in written
    for rule in chips()["speck2f"].rules:
        assert rule.text in written


def test_square_brackets_are_no_markup() -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    show(Table("t", ("a",), (("[bold]x[/bold]",),)), screen)
    assert "[bold]x[/bold]" in screen.file.getvalue()  # type: ignore[attr-defined]


def test_a_rule_without_words_is_refused() -> None:
    def silent() -> None: ...

    def _no_gaps() -> None:
        """Says so.

        And why.
        """

    assert rules_of(_no_gaps) == (Rule("no gaps", "Says so. And why."),)
    with pytest.raises(ValueError, match="silent"):
        rules_of(silent)
    with pytest.raises(ValueError, match="2 columns"):
        Table("t", ("a", "b"), (("1",),))


def test_the_table_of_supported_chips_in_the_repository_is_what_the_checks_say() -> None:
    written = (Path(__file__).parents[2] / "SUPPORTED.md").read_text(encoding="utf-8")
    done = CliRunner().invoke(app, ["chips", "--markdown"])
    assert done.exit_code == 0
    assert done.stdout == written, "spikefold chips --markdown > SUPPORTED.md"
    assert all(f"## Rules of {name} (" in written for name in FUNCTIONS)


def test_one_chip_as_markdown_has_every_rule_in_a_row() -> None:
    done = CliRunner().invoke(app, ["chips", "loihi2", "--markdown"])
    assert all(f"| {rule.name} | {rule.text} |" in done.stdout for rule in chips()["loihi2"].rules)
    assert CliRunner().invoke(app, ["chips", "--markdown", "--json"]).exit_code == 2
