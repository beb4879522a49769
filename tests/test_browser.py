# SPDX-License-Identifier: Apache-2.0
"""The report in a real browser, wide and narrow, light and dark: it opens from disk, and nothing of it is cut off."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

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
    "--window-size=1000,8000",
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


# notes errors before anything else runs, looks at the page when it is there, and tells the frame around it
_HEAR = """<script>
const errors = [];
addEventListener("error", event => errors.push(String(event.message)));
for (const kind of ["error", "warn"]) console[kind] = (...told) => errors.push(told.join(" "));
</script>"""
_LOOK = """<script>
addEventListener("load", () => {
  const box = element => element.getBoundingClientRect();
  const scrolls = element => element.closest(".scroll, .picture, pre");
  const cells = () => [...document.querySelector("#accuracy_ladder tbody").rows]
    .map(row => parseFloat(row.cells[2].textContent));
  const head = document.querySelector("#accuracy_ladder thead").rows[0].cells[2];
  const before = cells();
  head.click(); const up = cells(); head.click(); const down = cells();
  parent.postMessage(JSON.stringify({
    errors, before, up, down,
    requests: performance.getEntriesByType("resource").map(entry => entry.name),
    wide: document.documentElement.scrollWidth,
    cut: [...document.querySelectorAll("main *")].filter(e => !scrolls(e) && box(e).right > innerWidth + 1)
      .map(e => e.tagName + "." + e.className),
    folded: document.querySelectorAll("details svg[role]").length,
    pictures: [...document.querySelectorAll("svg[role]")].filter(e => !e.closest("details"))
      .map(e => [box(e).width, box(e).height]),
    tiles: [...document.querySelectorAll("#fit .tile")].map(e => [box(e).width, box(e).height]),
    matrices: document.querySelectorAll("#confusion table.matrix").length,
    verdicts: [...document.querySelectorAll(".verdict")].map(e => [e.id, box(e).bottom + scrollY]),
    next: box(document.querySelector("#next")).top + scrollY,
    small: [...document.querySelectorAll("main :not(svg *)")].map(e => parseFloat(getComputedStyle(e).fontSize))
      .reduce((a, b) => Math.min(a, b)),
    dead: [...document.querySelectorAll("a[href^='#']")].map(a => decodeURIComponent(a.hash.slice(1)))
      .filter(id => !document.getElementById(id)),
    back: getComputedStyle(document.body).backgroundColor, ink: getComputedStyle(document.body).color,
    chart: getComputedStyle(document.querySelector("#accuracy_ladder svg text")).fill,
  }), "*");
});
</script>"""
_FRAME = """<!doctype html><meta name="color-scheme" content="light dark"><body style="margin:0">
<iframe id="page" style="border:0;width:{width}px;height:900px;color-scheme:light dark" src="{page}"></iframe>
<script>addEventListener("message", event => document.title = "found " + event.data)</script>"""


@pytest.fixture(scope="module", params=[(1280, False), (1280, True), (390, False), (390, True)], ids=str)
def seen(
    request: pytest.FixtureRequest, finished_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, bool, dict[str, Any]]:
    """What the browser made of the page: width, dark or light, and what was found."""
    width, dark = request.param
    folder = tmp_path_factory.mktemp("seen")
    text = (finished_run / "report.html").read_text(encoding="utf-8")
    page = folder / "page.html"
    page.write_text(text.replace("<head>", f"<head>{_HEAR}").replace("</body>", f"{_LOOK}</body>"), encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(_FRAME.format(width=width, page=page.as_uri()), encoding="utf-8")
    scheme = ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if dark else []
    dom = _chromium(folder / "profile", *scheme, "--virtual-time-budget=5000", "--dump-dom", frame.as_uri())
    title = re.search(r"<title>found ([^<]*)</title>", dom)
    assert title, "the page did not finish loading"
    return width, dark, json.loads(html.unescape(title.group(1)))


def test_the_page_opens_without_errors_and_asks_for_nothing(seen: tuple[int, bool, dict[str, Any]]) -> None:
    _, _, found = seen
    assert found["errors"] == []
    assert found["requests"] == []
    assert found["dead"] == [], "a link leads nowhere"


def test_nothing_is_cut_off_and_all_can_be_read(seen: tuple[int, bool, dict[str, Any]]) -> None:
    width, _, found = seen
    assert found["wide"] <= width
    assert found["cut"] == []
    assert found["small"] >= 11
    assert (len(found["pictures"]), found["folded"]) == (6 + 1 + 1 + 1, 2), "one tornado is open, two are folded"
    assert len(found["tiles"]) == 9 + 3
    assert all(w > 150 and h > 20 for w, h in found["tiles"])
    assert found["matrices"] == 3
    # on a narrow screen a picture scrolls in its own box, so that it can be read
    assert all(w > 500 and h > 60 for w, h in found["pictures"]), found["pictures"]


def test_the_four_verdicts_are_on_the_first_screen(seen: tuple[int, bool, dict[str, Any]]) -> None:
    width, _, found = seen
    assert [name for name, _ in found["verdicts"]] == [
        f"verdict-{key}" for key in ("fit", "spikes", "accuracy", "energy")
    ]
    if width == 1280:
        assert all(bottom < 900 for _, bottom in found["verdicts"]), found["verdicts"]
        assert found["next"] < 900


def test_tables_sort_by_numbers_and_back(seen: tuple[int, bool, dict[str, Any]]) -> None:
    _, _, found = seen
    assert found["before"] != sorted(found["before"])
    assert found["up"] == sorted(found["before"])
    assert found["down"] == sorted(found["before"], reverse=True)
    assert len(set(found["before"])) > 2


def test_light_and_dark_follow_the_reader(seen: tuple[int, bool, dict[str, Any]]) -> None:
    _, dark, found = seen
    back, ink, chart = (sum(map(int, re.findall(r"\d+", found[key])[:3])) / 3 for key in ("back", "ink", "chart"))
    assert (back < 60) == dark
    assert (ink > 190) == dark == (chart > 190), "text and charts are readable on it"


def test_a_screenshot_shows_the_colours_of_the_charts(finished_run: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.png"
    _chromium(tmp_path / "profile", f"--screenshot={target}", (finished_run / "report.html").as_uri())
    pixels = (matplotlib.image.imread(target)[..., :3] * 255).round().astype(int)
    for colour in ((0x3B, 0x6F, 0xB6), (0xD9, 0x82, 0x2B), (0x4B, 0x9B, 0x6B)):
        near = np.abs(pixels - np.array(colour)).sum(axis=2) < 12
        assert near.sum() > 500, colour
    colours = np.unique(pixels @ np.array([1 << 16, 1 << 8, 1]))
    assert len(colours) > 200  # the maps of spikes are painted, not only text on white
