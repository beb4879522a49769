# SPDX-License-Identifier: Apache-2.0
"""``8_analyse`` on a run folder: what it writes, whose numbers they are, and when they go."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikefold.config import load_config, to_toml
from spikefold.errors import ConfigError, DataError
from spikefold.npz import read_arrays
from spikefold.session import BASELINE, CONFIG, NETWORK, Session, open_session
from spikefold.stage_table import ANALYSE, STAGES, TRAIN
from spikefold.stages.analyse import PAGE, VALUES, analyse_stage
from spikefold.train.analysis.features import Rules
from spikefold.train.analysis.measure import analyse
from spikefold.train.checkpoint import Checkpoint, save
from spikefold.train.data.events import Recording, pack_events, save_packed
from spikefold.train.data.frames import Binning
from tests.train.analysis.analysis_cases import CLASSES, CLIPS, SHAPE, STEPS, clips, network

FILES = {"origin.json", VALUES, PAGE, "counts.vanilla.npz", "counts.asa2.npz"}


class Told:
    """What a stage told people."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[tuple[object, ...]] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, task: str, done: int, of: int, note: str = "") -> None:
        self.steps.append((task, done, of))


def _make(tmp_path: Path) -> Path:
    """A run of two networks on seven clips, one recording for each."""
    binning = Binning(sensor=SHAPE[1:], downsample=1, dt_us=1000, steps=STEPS)
    recordings = []
    for index, frames in enumerate(clips().swapaxes(0, 1)):
        t, p, y, x = np.repeat(np.argwhere(frames), frames[frames > 0], axis=0).T
        recordings.append(Recording(pack_events(t * 1000, x, y, p), SHAPE[1:], index % CLASSES, str(index)))
    (tmp_path / "data").mkdir()
    for split in ("train", "test"):
        save_packed(tmp_path / "data" / f"{split}.npz", recordings)
    folder = tmp_path / "run"
    names = tuple(str(i) for i in range(CLASSES))
    save(folder / TRAIN.folder / NETWORK, Checkpoint(network(), binning, names))
    save(folder / TRAIN.folder / BASELINE, Checkpoint(network(attention="none"), binning, names))
    config = load_config(None, (f'data.source="npz:{tmp_path / "data"}"', f"data.steps={STEPS}"))
    (folder / CONFIG).write_text(to_toml(config), encoding="utf-8")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return _make(tmp_path)


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], Told]:
    """A run that was analysed once, with what the stage returned and told; tests leave it as it is."""
    told = Told()
    folder = _make(tmp_path_factory.mktemp("analysed"))
    return folder, analyse_stage(open_session(folder, told), batch=4), told


def _session(folder: Path) -> Session:
    return open_session(folder, Told())


def _values(folder: Path) -> dict[str, Any]:
    return json.loads((folder / ANALYSE.folder / VALUES).read_text(encoding="utf-8"))


def test_both_networks_are_analysed_side_by_side(analysed: tuple[Path, dict[str, Any], Told]) -> None:
    run, returned, told = analysed
    assert np.array_equal(_session(run).clips("test").frames, clips())
    assert {path.name for path in (run / ANALYSE.folder).iterdir()} == FILES
    values = _values(run)
    assert values == json.loads(json.dumps(returned))
    assert (values["clips"], values["steps"]) == (CLIPS, STEPS)
    assert list(values["networks"]) == ["vanilla", "asa2"]
    for name, attention in (("vanilla", "none"), ("asa2", "asa2")):
        expected, found = analyse(network(attention=attention), clips()), values["networks"][name]
        assert found["nasfr"] == expected.rates.nasfr
        assert found["spikes"] == expected.rates.spikes > 500
        counts = read_arrays(run / ANALYSE.folder / f"counts.{name}.npz")
        for layer, one in expected.layers.items():
            assert np.array_equal(counts[f"{layer}/fired"], one.firing.fired)
            assert np.array_equal(counts[f"{layer}/potential"], one.potentials.potential)
    assert told.steps == [(f"analyse {name}", done, 7) for name in ("vanilla", "asa2") for done in (4, 7)]
    assert len(told.lines) == 2


def test_the_page_stands_alone_and_shows_the_numbers(analysed: tuple[Path, dict[str, Any], Told]) -> None:
    run, values, _ = analysed
    page = (run / ANALYSE.folder / PAGE).read_text(encoding="utf-8")
    assert page.count("<svg role=") == 7  # rates, two layers of features, kinds, three of potentials
    for outside in ('src="http', 'href="http', "<script", "<link", "url(http"):
        assert outside not in page
    assert str(run.parent) not in page.replace(values["data"], "")
    for found in values["networks"].values():
        assert f"{found['nasfr']:.4f}" in page
        for layer in found["layers"].values():
            assert f"{layer['rate']:.4f}" in page or "features" not in layer
            assert f"{layer['qe']:.3f}" in page


def test_rules_go_into_the_result_and_change_it(analysed: tuple[Path, dict[str, Any], Told], run: Path) -> None:
    usual = analysed[1]
    changed = analyse_stage(_session(run), Rules(background=0.0, null=0.4, ghost=0.5))
    assert changed["rules"] == {"background": 0.0, "null": 0.4, "noise": 0.5, "ghost": 0.5}
    before, after = (v["networks"]["vanilla"]["layers"]["sn1"]["features"] for v in (usual, changed))
    assert after["background_share"] < before["background_share"]
    assert after["ghosts"] > before["ghosts"]
    assert after["kinds"]["null"]["count"] > before["kinds"]["null"]["count"]
    assert usual["networks"]["asa2"]["nasfr"] == changed["networks"]["asa2"]["nasfr"]


def test_equal_input_gives_equal_files_in_place_of_the_old_ones(
    analysed: tuple[Path, dict[str, Any], Told], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(analysed[0], tmp_path / analysed[0].name))
    (run / "report.json").write_text("{}", encoding="utf-8")
    (run / ANALYSE.folder / VALUES).write_text("{}", encoding="utf-8")
    analyse_stage(_session(run), batch=4)
    for name in FILES:
        assert (run / ANALYSE.folder / name).read_bytes() == (analysed[0] / ANALYSE.folder / name).read_bytes(), name
    # a report of the run does not depend on it
    assert {path.name for path in run.iterdir()} == {CONFIG, TRAIN.folder, ANALYSE.folder, "report.json"}


def test_a_vanilla_run_has_one_network(run: Path) -> None:
    binning = Binning(sensor=SHAPE[1:], downsample=1, dt_us=1000, steps=STEPS)
    save(run / TRAIN.folder / NETWORK, Checkpoint(network(attention="none"), binning, ("0", "1", "2")))
    assert list(analyse_stage(_session(run))["networks"]) == ["vanilla"]
    assert {path.name for path in (run / ANALYSE.folder).iterdir()} == FILES - {"counts.asa2.npz"}


def test_a_failed_analysis_leaves_the_old_one(run: Path) -> None:
    (run / ANALYSE.folder).mkdir()
    (run / ANALYSE.folder / VALUES).write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError):
        analyse_stage(_session(run), Rules(ghost=2.0))
    session = _session(run)
    assert len(session.clips("test")) == CLIPS
    (run / TRAIN.folder / BASELINE / "checkpoint.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="checkpoint"):
        analyse_stage(session)
    assert _values(run) == {}
    assert {path.name for path in run.iterdir()} == {CONFIG, TRAIN.folder, ANALYSE.folder}


def test_without_a_training_there_is_nothing_to_analyse(run: Path, tmp_path: Path) -> None:
    (run / TRAIN.folder).rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="'train' has not run"):
        analyse_stage(_session(run))


def test_training_again_removes_the_analysis_and_nothing_else_does(run: Path) -> None:
    (run / ANALYSE.folder).mkdir()
    for stage in STAGES:
        if stage not in (TRAIN, ANALYSE):
            with _session(run).writing(stage):
                pass
            assert (run / ANALYSE.folder).is_dir()
    with _session(run).writing(TRAIN):
        pass
    assert not (run / ANALYSE.folder).exists()
