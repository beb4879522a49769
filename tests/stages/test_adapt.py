# SPDX-License-Identifier: Apache-2.0
"""The stage that adapts, by events: what it says, keeps and refuses; chips without an event engine go by steps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from spikefold.export.io import identity, load_network
from spikefold.session import open_session
from spikefold.stages.adaptations import plan
from spikefold.stages.files.adapt import BY_EVENTS
from spikefold.stages.files.energy import energy_of_run
from spikefold.stages.files.simulate import SimulateFile
from spikefold.stages.files.validate import ValidateFile
from spikefold.stages.report.first_screen import first_screen
from spikefold.train.deploy.selection import standard_error
from tests.silent import Silent

EVENTS = ("--set", 'adapt.by="events"', "--set", "adapt.event_epochs=3")


@pytest.fixture(scope="module")
def by_events(program: Any, finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A copy of the finished run, adapted by events; and what the program said."""
    copy = tmp_path_factory.mktemp("events") / "run"
    shutil.copytree(finished_run, copy)
    done = program("adapt", str(copy), *EVENTS)
    assert done.returncode == 0, done.stderr
    return copy, done.stdout + done.stderr


def test_the_file_says_what_was_judged_and_kept(by_events: tuple[Path, str]) -> None:
    folder, said = by_events
    written = json.loads((folder / "3_adapt" / "adapt.json").read_text(encoding="utf-8"))
    assert set(written["baselines"]) == {"speck2f", "loihi2"}
    found = {name: one["selection"] for name, one in written["chips"].items()}
    assert [written["chips"][name]["epochs"] for name in found] == [3, 2]
    assert "clips: 3 epochs for speck2f, 2 epochs for loihi2" in said
    assert [found[name]["how"] for name in ("speck2f", "loihi2")] == [BY_EVENTS, "in clocked steps"]
    for name, tried in (("speck2f", ["epoch 2", "epoch 3"]), ("loihi2", ["epoch 1", "epoch 2", "blend 0.5"])):
        selection = found[name]
        assert (selection["held"], selection["unseen"]) == (20, True)  # two of each of ten classes with 16
        assert [one["name"] for one in selection["candidates"]] == ["before", *tried]
        assert all(one["synops"] > one["spikes"] > 10 for one in selection["candidates"])
        shares = {one["name"]: one["accuracy"] for one in selection["candidates"]}
        highest = max(shares.values())
        assert shares[selection["kept"]] >= highest - max(0.005, 2 * standard_error(highest, 20)) - 1e-9
        assert shares[selection["kept"]] >= shares["before"] - 0.005 - 1e-9
    selection = found["speck2f"]
    assert "on 20 training recordings held out" in said
    same = identity(load_network(folder / "3_adapt/speck2f/adapted")) == identity(
        load_network(folder / "2_fold/speck2f/target")
    )
    assert same == (selection["kept"] == "before")


def test_the_baseline_is_adapted_alike_but_for_the_budget(by_events: tuple[Path, str], tmp_path: Path) -> None:
    session = open_session(by_events[0], Silent(), ("adapt.synops_budget=1e5",), ("adapt",))
    own, baseline = (plan(session, tmp_path).works[name].task.adapt for name in ("speck2f", "speck2f.vanilla"))
    assert (own.synops_budget, baseline.synops_budget) == (1e5, None)
    assert own.spike_limit == baseline.spike_limit > 0
    assert own.epochs_by_events == baseline.epochs_by_events == 3


def test_chips_without_an_event_engine_are_adapted_as_ever(by_events: tuple[Path, str], finished_run: Path) -> None:
    before, after = (load_network(run / "3_adapt/loihi2/adapted") for run in (finished_run, by_events[0]))
    assert identity(before) == identity(after)


def test_the_stages_behind_it_take_what_it_wrote(program: Any, by_events: tuple[Path, str], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(by_events[0], copy)
    for verb in ("export", "simulate", "validate"):
        done = program(verb, str(copy))
        assert done.returncode == 0, done.stderr
    variants = json.loads((copy / "5_simulate" / "simulate.json").read_text(encoding="utf-8"))["variants"]
    assert variants["speck2f.events"]["spikes"] > 300


def test_the_report_knows_whom_recordings_chose_by_events(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[str]] = []

    def noted(*given: Any) -> tuple[()]:
        told.append(given[-1])
        return ()

    monkeypatch.setattr("spikefold.stages.report.first_screen.findings", noted)
    session = open_session(finished_run, Silent())
    simulated, validated = SimulateFile.of_run(session), ValidateFile.of_run(session)
    first_screen(session, simulated, validated, energy_of_run(session, list(simulated.variants)))
    assert told == [["speck2f"]], "Loihi 2 runs in steps"
