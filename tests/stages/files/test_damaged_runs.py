# SPDX-License-Identifier: Apache-2.0
"""Every file of a run that others read, damaged in many ways: typed errors that say what to run again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from spikefold.energy.prices.calibration_data import read_measurements
from spikefold.errors import DataError
from spikefold.hardware.speck.board.options import Clock
from spikefold.npz import read_arrays, write_arrays
from spikefold.pipeline import app
from spikefold.session import NETWORK, Session, open_session
from spikefold.stage_table import FOLD, TRAIN, VALIDATE
from spikefold.stages.adapt import adapt_stage
from spikefold.stages.energy import energy_stage
from spikefold.stages.export import export_stage
from spikefold.stages.files.board import BoardFile
from spikefold.stages.files.counts import counts_of_run
from spikefold.stages.files.energy import clips_of_run
from spikefold.stages.files.networks import network_of_run
from spikefold.stages.files.simulate import SimulateFile
from spikefold.stages.files.traces import trace_of_run
from spikefold.stages.on_board import validate_on
from spikefold.stages.report.assemble import assemble
from spikefold.stages.report.write import write_report
from spikefold.stages.simulate import simulate_stage
from spikefold.stages.validate import validate_stage
from spikefold.stages.verbs.compare_runs import diff_runs
from spikefold.train import checkpoint
from tests.hardware.speck.board.samna_chip import Board, Faults, Time
from tests.hardware.speck.board.samna_strict import samna
from tests.silent import Silent
from tests.stages.files.damage import json_edits

Reader = Callable[[Session], object]
BOARD = "6_validate/board.json"


def _on_board(session: Session) -> object:
    board = Board(Time(), Faults())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spikefold.hardware.speck.board.device.load", lambda: samna({"Speck2fDevKit": board}))
        patch.setattr("spikefold.hardware.speck.board.run.Clock", lambda: Clock(board.time.now, board.time.sleep))
        return validate_on(session, "speck2fdevkit:0", 1, 1)


def _calibration(session: Session) -> object:
    return read_measurements([session.folder])


def _trace(session: Session) -> object:
    variant = SimulateFile.of_run(session).variants["float"]
    return trace_of_run(session, "float", variant, network_of_run(session, FOLD, "unfolded"))


def _counts(session: Session) -> object:
    return counts_of_run(session, "float", SimulateFile.of_run(session).variants["float"])


def _checkpoint(session: Session) -> object:
    return checkpoint.load(session.path(TRAIN) / NETWORK)


def _clips(session: Session) -> object:
    return clips_of_run(session, ("float", "vanilla"))


def _diff(session: Session) -> object:
    return diff_runs(session.folder, session.folder)


LAYER = {
    "layer": "sn1",
    "neurons": 1734,
    "spikes_simulated": 90,
    "spikes_device": [90, 88],
    "differences": [0.0, 0.02],
    "bins_differing": [0, 2],
    "between_repeats": [0.02],
    "without_first_event": [0.1, None],
    "agreement": "identical",
    "by_repeat": ["identical", "within chip noise"],
}
RAIL = {"rail": "VDD_LOGIC 1.2V", "idle_w": 3e-4, "active_w": 4e-4, "idle_samples": 9, "active_samples": 7}
BOARD_RESULT = {
    "target": "speck2fdevkit:0", "board": "Speck2fDevKit", "configuration_sha256": "0" * 64,
    "runners": ["events", "speck2fdevkit:0"], "clips": 1, "steps": 5, "dt_us": 1000, "slow_clock_hz": None,
    "options": {"repeats": 2}, "agreement": "identical", "loses_first_event": False,
    "yardsticks": {"chip to chip": 0.028, "source": "a paper"}, "layers": [LAYER], "power": [RAIL],
    "clip_power": [[RAIL]], "power_missing": None, "power_offset_w": 5e-5, "problems": [], "notes": [],
    "describe": "one line", "synops": [1000], "replayed_us": [5000],
}  # fmt: skip


@pytest.fixture(scope="module")
def run(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A copy of the small run, with what a board would have written, and its clips loaded once."""
    folder = tmp_path_factory.mktemp("damaged") / "run"
    shutil.copytree(finished_run, folder)
    session = open_session(folder, Silent())
    BoardFile.of(BOARD_RESULT).write(folder / VALIDATE.folder)
    for split in ("train", "test"):
        assert len(session.clips(split)) > 20
    return session


@pytest.fixture
def copy(run: Session, tmp_path: Path) -> Session:
    """A copy for one test, of hard links, so that a file is replaced and never written into."""
    return _copied(run, tmp_path / "run")


def _copied(run: Session, folder: Path) -> Session:
    shutil.copytree(run.folder, folder, copy_function=os.link)
    session = open_session(folder, Silent())
    # the recordings are not what is damaged here
    vars(session).update({key: vars(run)[key] for key in ("dataset", "_clips")})
    return session


def _replace(path: Path, content: bytes | None) -> None:
    path.unlink()
    if content is not None:
        path.write_bytes(content)


def _refusal(read: Reader, session: Session) -> DataError | None:
    """The typed error of a reader; None where what was read is right. Any other exception fails the test."""
    try:
        read(session)
    except DataError as error:
        return error
    return None


JSON_OF_STAGES: dict[str, Reader] = {
    "1_train/metrics.json": assemble,
    "2_fold/fold.json": assemble,
    "3_adapt/adapt.json": assemble,
    "4_export/export.json": assemble,
    "5_simulate/simulate.json": assemble,
    "6_validate/validate.json": assemble,
    "7_energy/energy.json": assemble,
    BOARD: assemble,
}


@pytest.mark.parametrize("name", JSON_OF_STAGES)
def test_an_edited_json_of_a_stage_is_bad_data(run: Session, copy: Session, name: str) -> None:
    path, read = copy.folder / name, JSON_OF_STAGES[name]
    whole = path.read_bytes()
    edits = list(json_edits(whole.decode()))
    assert len(edits) > 30
    still_right = []
    for what, content in edits:
        _replace(path, content)
        told = _refusal(read, copy)
        if told is None:
            still_right.append(what)
        else:
            assert told.exit_code == 6, what
            assert str(copy.folder) in told.where + told.hint, what
            assert "spikefold " in told.hint or "run that stage again" in told.hint, what
        path.unlink(missing_ok=True)
        path.write_bytes(whole)
    # an entry of a mapping by names that nobody asks for may go, and a mean or a power may have any sign
    # the one leaves parts of other modules open, the other what a board adds of its own
    partly_open = name in ("7_energy/energy.json", BOARD)
    assert len(still_right) < len(edits) / (2 if partly_open else 3), still_right
    if not partly_open:
        assert not [what for what in still_right if "." not in what], still_right


@pytest.mark.parametrize(
    ("name", "readers"),
    [
        ("2_fold/fold.json", [adapt_stage, simulate_stage]),
        ("4_export/export.json", [simulate_stage, energy_stage]),
        ("5_simulate/simulate.json", [energy_stage]),
        ("7_energy/energy.json", [_diff]),
        (BOARD, [_calibration]),
        ("4_export/speck2f/config.json", [_on_board]),
    ],
)
def test_every_other_reader_of_it_says_so_too(copy: Session, name: str, readers: list[Reader]) -> None:
    path = copy.folder / name
    whole = path.read_bytes()
    first = next(iter(json.loads(whole)))
    edits = dict(json_edits(whole.decode()))
    broken = [edits[what] for what in ("truncated", "null", "deep", "empty")]
    needed = {"7_energy/energy.json": "networks", BOARD: "target", "4_export/speck2f/config.json": "device"}
    broken.append(edits[f"{needed.get(name, first)} deleted"])
    for content in broken:
        _replace(path, content)
        for read in readers:
            with pytest.raises(DataError):
                read(copy)


_NOT_LOOKED_AT = ("history", "source", "schema", "a key too many", "another version")
"""Provenance; and in a checkpoint what `train.checkpoint` does not check."""
NETWORKS: dict[str, Reader] = {
    "2_fold/folded": export_stage,
    "2_fold/unfolded": energy_stage,
    "2_fold/speck2f/target": adapt_stage,
    "3_adapt/loihi2/adapted": export_stage,
    "4_export/speck2f/network": validate_stage,
    "4_export/loihi2/real": validate_stage,
    "1_train/network/checkpoint": _checkpoint,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_damaged_network_is_bad_data(run: Session, tmp_path: Path, name: str) -> None:
    checked = 0
    text = (run.folder / f"{name}.json").read_text(encoding="utf-8")
    edits = [edit for edit in json_edits(text) if not edit[0].startswith(_NOT_LOOKED_AT)][:14]
    weights = (run.folder / f"{name}.safetensors").read_bytes()
    damaged = [(".json", content) for _, content in edits]
    damaged += [(".safetensors", content) for content in (None, b"", weights[: len(weights) // 2], weights[8:])]
    for number, (suffix, content) in enumerate(damaged):
        session = _copied(run, tmp_path / str(number))
        path = session.folder / f"{name}{suffix}"
        if content is not None and suffix == ".json" and _same(path, content):
            continue
        _replace(path, content)
        with pytest.raises(DataError):
            NETWORKS[name](session)
        checked += 1
    assert checked > 12


def _same(path: Path, content: bytes) -> bool:
    try:
        return bool(json.loads(path.read_bytes()) == json.loads(content))
    except (ValueError, RecursionError):
        return False


def _damaged_arrays(path: Path) -> list[dict[str, np.ndarray] | bytes | None]:
    whole = path.read_bytes()
    arrays = read_arrays(path)
    found: list[dict[str, np.ndarray] | bytes | None] = [None, b"", whole[: len(whole) // 2], b"PK", b"\x93NUMPY"]
    found += [{key: value for key, value in arrays.items() if key != gone} for gone in arrays]
    for key, value in arrays.items():
        found.append(arrays | {key: np.full(value.shape, np.nan)})
        found.append(arrays | {key: np.array("nonsense")})
        found.append(arrays | {key: value[..., :1] if value.ndim else np.array([value, value])})
        if value.dtype.kind == "i":
            found.append(arrays | {key: -value - 1})
    return found


@pytest.mark.parametrize(
    ("name", "read", "least"),
    [
        ("5_simulate/trace.float.npz", _trace, 20),
        ("5_simulate/counts.float.npz", _counts, 16),
        ("7_energy/clips.npz", _clips, 20),
    ],
)
def test_damaged_arrays_are_bad_data(copy: Session, name: str, read: Reader, least: int) -> None:
    path = copy.folder / name
    whole = path.read_bytes()
    refused = 0
    for content in _damaged_arrays(path):
        path.unlink(missing_ok=True)
        if isinstance(content, dict):
            write_arrays(path, content)
        elif content is not None:
            path.write_bytes(content)
        told = _refusal(read, copy)
        refused += told is not None
    assert refused > least
    path.unlink(missing_ok=True)
    path.write_bytes(whole)


@pytest.mark.parametrize(
    ("name", "arguments", "again"),
    [
        ("2_fold/fold.json", ["simulate"], "spikefold fold"),
        ("5_simulate/simulate.json", ["energy"], "spikefold simulate"),
        ("6_validate/validate.json", ["report"], "spikefold validate"),
        ("1_train/metrics.json", ["report"], "spikefold train"),
        ("4_export/export.json", ["report"], "spikefold export"),
    ],
)
def test_the_command_says_file_field_and_what_to_run_again(
    copy: Session, name: str, arguments: list[str], again: str
) -> None:
    path = copy.folder / name
    values = json.loads(path.read_bytes()) | {"schema_version": 9}
    _replace(path, json.dumps(values).encode())
    done = CliRunner().invoke(app, [*arguments, str(copy.folder)])
    assert done.exit_code == 6, done.stderr
    assert f"E-DATA: {path.name} is not what this release writes" in done.stderr
    assert f"where: {path}" in done.stderr
    assert f"{path.name}: schema_version: value_error: got 9, limit Value error, this release reads" in done.stderr
    assert f"to do: {again} " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_page_is_written_from_the_undamaged_run_and_refused_where_energy_lacks_a_part(copy: Session) -> None:
    assert write_report(copy)["accuracy"]["float"] > 0
    path = copy.folder / "7_energy" / "energy.json"
    values = json.loads(path.read_bytes())
    for network in values["networks"].values():
        network["budget"].pop("attention_macs_per_clip")
    _replace(path, json.dumps(values).encode())
    with pytest.raises(DataError, match=r"energy\.json"):
        write_report(copy)


def test_a_trace_of_another_variant_is_not_taken_for_this_one(copy: Session) -> None:
    path = copy.folder / "5_simulate" / "trace.float.npz"
    _replace(path, (copy.folder / "5_simulate" / "trace.vanilla.npz").read_bytes())
    with pytest.raises(DataError, match=r"trace\.float\.npz is not what") as told:
        _trace(copy)
    assert "of simulate.json" in told.value.issues[0].limit


def test_counts_of_another_variant_or_with_an_edited_number_are_not_taken(copy: Session) -> None:
    folder = copy.folder / "5_simulate"
    path = folder / "counts.float.npz"
    arrays = read_arrays(path)
    _replace(path, (folder / "counts.vanilla.npz").read_bytes())
    with pytest.raises(DataError, match=r"counts\.float\.npz is not what") as told:
        _counts(copy)
    assert "of simulate.json" in told.value.issues[0].limit
    totals = json.loads(str(arrays["totals"]))
    totals["layers"][0]["events"] += 1
    path.unlink()
    write_arrays(path, arrays | {"totals": np.array(json.dumps(totals))})
    with pytest.raises(DataError) as told:
        _counts(copy)
    assert [issue.where for issue in told.value.issues] == [
        f"counts.float.npz: {totals['layers'][0]['name']}: events"
    ]
