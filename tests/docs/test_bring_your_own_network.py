# SPDX-License-Identifier: Apache-2.0
"""Every block of the page "bring your own network" runs, in the order of the page, and is at most ten lines long."""

from __future__ import annotations

import importlib.util
import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from spikefold.pipeline import app
from spikefold.train.data.events import Recording, pack_events, save_packed
from tests.hardware.loihi.netx_cases import ints, slayer_neuron, write
from tests.train.published_cases import STEPS, three_layers

PAGE = Path(__file__).parents[2] / "docs" / "bring-your-own-network.md"
SENSOR = (34, 34)
SECTIONS = {
    title: re.findall(r"```(\w+)\n(.*?)```", body, re.DOTALL)
    for title, body in re.findall(
        r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
}
NEEDS = {"snnTorch": "snntorch", "norse": "norse"}
"""Libraries that the tests may lack; the others are what spikefold itself needs."""
LONG = "A checkpoint of ASA-SNN"
"""Shown stage by stage in `tests/stages/exchange/test_import_checkpoint.py`: here its import and its fold."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the reader's recordings and files."""
    folder, rng = tmp_path_factory.mktemp("reader"), np.random.default_rng(0)
    (folder / "recordings").mkdir()
    for split, count in (("train", 10), ("test", 2)):
        made = []
        for index in range(count):
            t = np.sort(rng.integers(0, STEPS * 15_000, 4000))
            y, x, p = (rng.integers(0, limit, 4000) for limit in (*SENSOR, 2))
            made.append(Recording(pack_events(t, x, y, p), SENSOR, index, f"r{index}"))
        save_packed(folder / "recordings" / f"{split}.npz", made)
    neuron = slayer_neuron(vThMant=40)
    write(folder / "network.net", [
        {"type": "conv", "shape": (2, 8, 8), "weight": 2 * ints(1, 2, 2, 3, 3, low=-20, high=30), "stride": (4, 4),
         "padding": (0, 0), "dilation": (1, 1), "groups": 1, "neuron": neuron},
        {"type": "flatten", "shape": (128,)},
        {"type": "dense", "shape": (10,), "weight": 2 * ints(2, 10, 128, low=-10, high=14), "neuron": neuron},
    ], steps=6)  # fmt: skip
    torch.manual_seed(2)
    torch.save(three_layers((4, 6, 6), 4, 10, hidden=12), folder / "net.pth")
    return folder


def _commands(block: str) -> list[list[str]]:
    return [shlex.split(part) for line in block.splitlines() for part in line.split(" && ") if part.strip()]


@pytest.mark.lava
@pytest.mark.parametrize("title", SECTIONS)
def test_every_block_of_the_page_runs(title: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if title in NEEDS and importlib.util.find_spec(NEEDS[title]) is None:
        pytest.skip(f"{NEEDS[title]} is not installed")
    blocks = SECTIONS[title]
    assert blocks
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", [*sys.path])
    ran = 0
    for kind, block in blocks:
        assert len(block.splitlines()) <= 10
        if kind == "python":
            if name := re.match(r"# (\w+\.py)\n", block):
                (place / name.group(1)).write_text(block, encoding="utf-8")
            else:
                (place / "block.py").write_text(block, encoding="utf-8")
                runpy.run_path(str(place / "block.py"))
            ran += 1
            continue
        for command in _commands(block):
            assert command[0] == "spikefold"
            if title == LONG and command[1] not in ("import", "fold"):
                continue
            torch.manual_seed(1)  # of the reader's network: the same weights for each command
            done = CliRunner().invoke(app, [*command[1:]], catch_exceptions=False)
            assert done.exit_code == 0, f"{' '.join(command)}\n{done.output}"
            ran += 1
            if command[1] in ("export", "validate") and "--data" in command:
                assert " 0 mismatches in " in done.output
    assert ran >= len(blocks)


def test_the_page_has_every_door() -> None:
    assert set(SECTIONS) >= {"SpikingJelly", "snnTorch", "sinabs", "norse", "A NIR graph", "lava-dl's `.net`", LONG}
