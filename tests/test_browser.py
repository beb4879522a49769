# SPDX-License-Identifier: Apache-2.0
"""The report in a real browser: it opens from disk and its pictures are drawn."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

# without these Chromium tries to reach its update and DNS services, which a closed network refuses many times over
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1000,5600",
)
BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine (.ci/run installs Debian's)"),
]


def _chromium(profile: Path, *arguments: str) -> str:
    command = [str(BROWSER), *_FLAGS, f"--user-data-dir={profile}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def test_the_pictures_are_laid_out_and_drawn(finished_run: Path, tmp_path: Path) -> None:
    page = finished_run / "report.html"
    # the same page, plus a script that writes down how large the browser made each picture
    measure = (
        "<script>addEventListener('load', () => { document.title = 'sizes ' "
        "+ [...document.querySelectorAll('svg[role]')].map(s => s.getBoundingClientRect())"
        ".map(b => Math.round(b.width) + 'x' + Math.round(b.height)).join(' ') })</script>"
    )
    measured = tmp_path / "measured.html"
    measured.write_text(page.read_text(encoding="utf-8").replace("</body>", measure + "</body>"), encoding="utf-8")
    dom = _chromium(tmp_path / "profile", "--dump-dom", measured.as_uri())
    title = re.search(r"<title>sizes ([^<]*)</title>", dom)
    assert title, "the page did not finish loading"
    sizes = [tuple(int(n) for n in size.split("x")) for size in title.group(1).split()]
    assert len(sizes) == 4 + 1 + 3
    assert all(width > 600 and height > 100 for width, height in sizes), sizes


def test_a_screenshot_shows_the_colours_of_the_charts(finished_run: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.png"
    _chromium(tmp_path / "profile", f"--screenshot={target}", (finished_run / "report.html").as_uri())
    pixels = (matplotlib.image.imread(target)[..., :3] * 255).round().astype(int)
    for colour in ((0x3B, 0x6F, 0xB6), (0xD9, 0x82, 0x2B), (0x4B, 0x9B, 0x6B)):
        near = np.abs(pixels - np.array(colour)).sum(axis=2) < 12
        assert near.sum() > 500, colour
    colours = np.unique(pixels.reshape(-1, 3), axis=0)
    assert len(colours) > 200  # the maps of spikes are painted, not only text on white
