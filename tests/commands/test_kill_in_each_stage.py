# SPDX-License-Identifier: Apache-2.0
"""``kill -9`` in each of the eight stages, then the same command: it completes, and earlier stages are untouched."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spikefold.pipeline import app
from spikefold.provenance.digests import of_folder
from spikefold.session import CONFIG
from spikefold.stage_table import REPORTS, STAGES
from tests.docs.blocks import played_back

SCRIPT = Path(__file__).with_name("dying_run.py")
IN_RUN = [stage for stage in STAGES if stage.in_run]
CASES = [(stage.name, "writing") for stage in IN_RUN] + [
    ("report", "writing"),
    ("adapt", "renaming"),
]


@pytest.mark.parametrize(("dies_in", "moment"), CASES)
def test_after_a_kill_the_same_command_completes(
    dies_in: str, moment: str, finished_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs" / finished_run.name
    command = [sys.executable, str(SCRIPT), str(finished_run), str(out), dies_in, moment]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    names = [stage.name for stage in IN_RUN]
    before = names if dies_in == "report" else names[: names.index(dies_in)]
    kept = {stage.folder: of_folder(out / stage.folder) for stage in IN_RUN if (out / stage.folder).is_dir()}
    assert list(kept) == [stage.folder for stage in IN_RUN if stage.name in before]
    with played_back(finished_run, tmp_path):
        again = CliRunner().invoke(app, ["run", "--config", str(finished_run / CONFIG), "--out", str(out)])
    assert again.exit_code == 0, again.stderr
    told = [line.split(":")[0] for line in again.stderr.splitlines() if line.endswith("unchanged")]
    assert told == before
    assert {folder: of_folder(out / folder) for folder in kept} == kept, "earlier stages are untouched"
    assert all((out / name).is_file() for name in REPORTS)
    hidden = [path.name for path in out.iterdir() if path.name.startswith(".")]
    assert not hidden, "nothing of the killed process is left"
