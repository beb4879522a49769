# SPDX-License-Identifier: Apache-2.0
"""``spikefold validate --on``: a finished run on a strict stand-in of samna, and NOT RUN where there is no board."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from spikefold.errors import ConfigError, EnvironmentLacksError, MismatchError
from spikefold.files import read_json
from spikefold.hardware.speck.board.options import Clock
from spikefold.session import BOARD, Session, open_session
from spikefold.stage_table import VALIDATE
from spikefold.stages.on_board import validate_on
from spikefold.stages.report.assemble import assemble
from spikefold.stages.report.page import render
from tests.hardware.speck.board.samna_chip import Board, Faults, Time
from tests.hardware.speck.board.samna_strict import samna
from tests.silent import Silent


@pytest.fixture
def session(finished_run: Path, tmp_path: Path) -> Session:
    """A copy of the small run, which the test may write into."""
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    return open_session(folder, Silent())


def _on(session: Session, board: Board, target: str = "speck2fdevkit:0") -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spikefold.hardware.speck.board.device.load", lambda: samna({"Speck2fDevKit": board}))
        patch.setattr("spikefold.hardware.speck.board.run.Clock", lambda: Clock(board.time.now, board.time.sleep))
        return validate_on(session, target, 2, 1)


def test_a_board_that_works_as_simulated_is_evidence(session: Session) -> None:
    found = _on(session, Board(Time(), Faults()))
    assert found["agreement"] == "identical"
    assert (found["clips"], found["problems"]) == (2, [])
    assert all(layer["spikes_simulated"] > 0 for layer in found["layers"][:-1])
    assert sum(layer["spikes_simulated"] for layer in found["layers"]) > 100
    assert read_json(session.folder / VALIDATE.folder / BOARD)["target"] == "speck2fdevkit:0"
    report = assemble(session)
    assert report["board"]["agreement"] == "identical"
    assert not any("peck" in item["what"] for item in report["not_run"])


def test_what_the_board_drew_is_told_in_neurobenchs_form(session: Session) -> None:
    found = _on(session, Board(Time(), Faults()))
    processor, whole = found["system_track"]
    assert not processor["estimated"]
    assert processor["system"].endswith("ram + logic")
    rails = {one["rail"]: one for one in found["power"]}
    ram, logic = rails["VDD_RAM 1.2V"], rails["VDD_LOGIC 1.2V"]
    assert processor["idle_mw"] == [pytest.approx(1e3 * (ram["idle_w"] + logic["idle_w"]))] * 2
    assert processor["dynamic_mw"][0] == pytest.approx(
        max(0, 1e3 * (ram["active_w"] - ram["idle_w"] + logic["active_w"] - logic["idle_w"]))
    )
    assert processor["execution_time_ms"] == pytest.approx(sum(found["replayed_us"]) / 2 / 1e3)
    assert whole["idle_mw"][0] >= processor["idle_mw"][0] > 0
    page = render(session, assemble(session))
    assert "ram + logic (measured)" in page
    assert "(estimate)" in page


def test_a_board_that_loses_spikes_is_found_out_after_the_evidence_is_written(session: Session) -> None:
    with pytest.raises(MismatchError, match="beyond"):
        _on(session, Board(Time(), Faults(drop_every=2)))
    assert read_json(session.folder / VALIDATE.folder / BOARD)["agreement"].startswith("beyond")


def test_without_a_board_it_is_not_run_and_says_what_is_missing(session: Session, program: Any) -> None:
    with pytest.raises(EnvironmentLacksError, match=r"NOT RUN on speck2fdevkit:1.*not connected"):
        _on(session, Board(Time(), Faults()), "speck2fdevkit:1")
    assert "not connected" in read_json(session.folder / VALIDATE.folder / BOARD)["not_run"]
    done = program("validate", str(session.folder), "--on", "speck2fdevkit:0")
    assert done.returncode == 4
    assert "NOT RUN on speck2fdevkit:0" in done.stderr
    assert "samna" in done.stderr
    assert any(item["what"] == "speck2fdevkit:0" for item in assemble(session)["not_run"])


def test_another_board_than_the_configuration_was_made_for(session: Session) -> None:
    with pytest.raises(ConfigError, match="no network for speck2edevkit"):
        _on(session, Board(Time(), Faults()), "speck2edevkit:0")
    with pytest.raises(ConfigError, match="unknown board"):
        _on(session, Board(Time(), Faults()), "loihi:0")


def test_another_board_of_the_same_chip_needs_its_own_configuration(session: Session) -> None:
    board = Board(Time(), Faults())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spikefold.hardware.speck.board.device.load", lambda: samna({"Speck2fModuleDevKit": board}))
        with pytest.raises(ConfigError, match="was made for speck2fdevkit") as told:
            validate_on(session, "speck2fmodule:0", 2, 1)
    assert told.value.hint == "validate --on speck2fdevkit:0"
    with pytest.raises(ConfigError, match="'x' is no index of a board"):
        _on(session, board, "speck2fdevkit:x")
