# SPDX-License-Identifier: Apache-2.0
"""Every block of the README and of every page of documentation runs, in the order of its page; links lead on."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from spikefold.train.data.events import Recording, pack_events, save_packed
from tests.docs.blocks import ROOT, blocks_of, commands_of, parsed, run_block

OWN_TEST = "bring-your-own-network.md"
"""Its blocks train nothing and are all run for real, in `test_bring_your_own_network`."""
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != OWN_TEST)]
WITHOUT_BLOCKS = {"index.md", "promises.md", "files.md"}
SENSOR, STEPS = (24, 24), 6


@pytest.fixture
def place(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's working directory: finished runs, and recordings of two classes."""
    for name in ("latest", "vanilla"):
        shutil.copytree(finished_run, tmp_path / "runs" / name)
    rng = np.random.default_rng(0)
    (tmp_path / "recordings").mkdir()
    for split, count in (("train", 10), ("test", 4)):
        made = []
        for index in range(count):
            t = np.sort(rng.integers(0, 60_000, 3000))
            y, x, p = (rng.integers(0, limit, 3000) for limit in (*SENSOR, 2))
            made.append(Recording(pack_events(t, x, y, p), SENSOR, index % 2, f"r{index}"))
        save_packed(tmp_path / "recordings" / f"{split}.npz", made)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


@pytest.mark.lava
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_block_of_the_page_runs(page: Path, place: Path, finished_run: Path) -> None:
    torch.manual_seed(1)
    ran = 0
    for block in blocks_of(page):
        ran += run_block(block, place, finished_run)
    assert (ran > 0) == (page.name not in WITHOUT_BLOCKS)


def test_a_command_with_a_wrong_option_is_noticed() -> None:
    parsed(("energy", "profiles", "speck"))
    parsed(("fit", "--arch", "a", "--chip", "speck2f", "--apply"))
    with pytest.raises(Exception, match="No such option"):
        parsed(("fit", "--arch", "a", "--chipp", "speck2f"))
    with pytest.raises(Exception, match="no command of this name"):
        parsed(("energie", "runs/mine"))


def test_exit_codes_are_read_from_comments() -> None:
    block = next(block for block in blocks_of(ROOT / "docs" / "speck-board.md") if "--on" in block.text)
    assert {command.words[1]: command.codes for command in commands_of(block)} == {"doctor": {0}, "validate": {0, 4}}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "docs" / OWN_TEST, ROOT / "SECURITY.md"], ids=lambda path: path.name)
def test_links_and_tests_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    tests = re.findall(r"`(tests/[\w/.]+)`", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [name for name in tests if not (ROOT / name).exists()]
    assert not missing
    assert links or tests or page.name not in ("README.md", "index.md", "SECURITY.md")


def test_the_readme_is_read_in_three_minutes() -> None:
    words = re.sub(r"```.*?```", "", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL).split()
    assert len(words) < 3 * 300
