# SPDX-License-Identifier: Apache-2.0
"""A finished run on its chip from Python: its figures are those of its report; other frames run on its integers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np

import spikefold as sf
from spikefold.export.io import load_network


def test_a_run_has_the_figures_of_its_report(finished_run: Path, tmp_path: Path) -> None:
    report = json.loads((finished_run / "report.json").read_text())
    net = sf.load(finished_run)
    chip = sf.deploy(net, "loihi2")
    for key, verdict in report["verdicts"].items():
        (line,) = [line for line in verdict["lines"] if line["chip"] == "loihi2"]
        assert chip.verdicts[key].to_json()["lines"] == [line]
    assert chip.parity is not None
    assert chip.parity.spikes == report["parity"]["loihi2"]["spikes"] > 500
    page = chip.report(tmp_path / "chip.html").read_text(encoding="utf-8")
    assert 'id="chip-loihi2"' in page
    assert not set(map(unquote, re.findall(r'href="#([^"]+)"', page))) - set(re.findall(r' id="([^"]+)"', page)), (
        "dead links"
    )
    assert np.array_equal(
        chip.integer["fc"].op.weight, load_network(finished_run / "4_export" / "loihi2" / "network")["fc"].op.weight
    )


def test_frames_of_the_users_own_run_on_the_runs_integers(finished_run: Path) -> None:
    net = sf.load(str(finished_run))
    assert net.session is not None
    clips = net.session.first_clips("test", 3)
    chip = sf.deploy(net, "speck2f", data=(clips.frames, clips.labels))
    assert chip.source == "3 clips"
    assert chip.parity is not None
    assert (chip.parity.mismatches, chip.parity.clips) == (0, 3)
    assert chip.parity.spikes > 200
    stored = load_network(finished_run / "4_export" / "speck2f" / "network")
    assert np.array_equal(chip.integer["fc"].op.weight, stored["fc"].op.weight)
