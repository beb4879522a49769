# SPDX-License-Identifier: Apache-2.0
"""A first try that is too small to learn anything ends with a page that says so, and with exit code 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from spikefold.train.data.events import Recording, pack_events, save_packed

SETS = (
    "data.steps=3", "model.channels=[4]", "model.strides=[4]", "model.threshold=500", "train.epochs=1",
    "train.baseline=false", "adapt.epochs=1", "chips.parity_clips=3", "chips.vendor_clips=2",
)  # fmt: skip


def _recordings(count: int) -> list[Recording]:
    """Two classes of 400 events each, in two halves of the sensor."""
    rng, found = np.random.default_rng(0), []
    for index in range(count):
        t, y = np.sort(rng.integers(0, 300_000, 400)), rng.integers(0, 34, 400)
        x = rng.integers(0, 17, 400) + 17 * (index % 2)
        found.append(Recording(pack_events(t, x, y, rng.integers(0, 2, 400)), (34, 34), index % 2, f"r{index}"))
    return found


def test_layers_that_never_fire_are_findings_and_the_rest_of_the_report_stands(program: Any, tmp_path: Path) -> None:
    data = tmp_path / "own"
    data.mkdir()
    save_packed(data / "train.npz", _recordings(24))
    save_packed(data / "test.npz", _recordings(6))
    run = tmp_path / "run"
    sets = [part for key in SETS for part in ("--set", key)]
    done = program("run", "--data", f"npz:{data}", "--out", str(run), *sets)
    assert done.returncode == 1, done.stderr
    assert "NOT COMPARED, for it never fires" in done.stderr
    assert "train longer (train.epochs)" in done.stderr
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert report["verdicts"]["spikes"]["word"] == "NOT COMPARED"
    (silent,) = [one for one in report["findings"] if "never fire" in one["what"]]
    assert "model.threshold" in silent["to_do"]
    assert report["parity"]["speck2f"]["comparisons"][0]["silent"]
    assert report["verdicts"]["fit"]["word"] == "fits"
    assert set(report["energy"]["networks"]) >= {"float", "speck2f", "loihi2"}
    page = (run / "report.html").read_text(encoding="utf-8")
    assert page.index("never fire") < page.index("<nav")
    assert "NOT COMPARED" in done.stdout
    assert report["verdicts"]["accuracy"]["word"] == "no better than chance"
    assert page.index("the trained network is no better than chance") < page.index("<nav")
