# SPDX-License-Identifier: Apache-2.0
"""``spikefold fit`` on what a user has: an architecture, a ``.nir`` file, a run; and what applying it writes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spikefold.config import AdaptConfig, ChipsConfig, Config, DataConfig, ModelConfig, TrainConfig, load_config
from spikefold.errors import ConfigError, DataError, UnsupportedError
from spikefold.export.io import identity, load_network
from spikefold.export.nir import to_nir
from spikefold.export.nir.from_nir import read
from spikefold.files import read_json
from spikefold.hardware.loihi.chip import LOIHI2
from spikefold.hardware.speck.chip import SPECK2E, SPECK2F, violations
from spikefold.session import NETWORK, Session, keep_config, new_session, open_session
from spikefold.stage_table import TRAIN
from spikefold.stages.adapt import adapt_stage
from spikefold.stages.export import export_stage
from spikefold.stages.fold import fold_stage
from spikefold.stages.verbs.check_architecture import fit_architecture
from spikefold.stages.verbs.check_fit import fit_network, fit_run
from spikefold.stages.verbs.narrow_run import apply_to_architecture, narrow_run
from spikefold.train.checkpoint import Checkpoint, save
from spikefold.train.deploy.fit_model import INPUT
from spikefold.train.loop import train
from spikefold.train.models.architectures import architecture, network
from tests.silent import Silent


def _run(folder: Path, stride: int, channels: int) -> Path:
    """A folded run of one convolution over 34x34 digits, and a dense layer of 40 neurons."""
    model = ModelConfig(channels=(channels,), strides=(stride,), attention="none", threshold=0.5)
    config = Config(
        data=DataConfig(source="digits", train=30, test=10, steps=4),
        model=model,
        train=TrainConfig(epochs=1, batch=10, baseline=False),
        adapt=AdaptConfig(epochs=1),
        chips=ChipsConfig(names=("speck2f",), parity_clips=2, vendor_clips=1),
    )
    session = new_session(config, folder, Silent())
    # as the train stage does, but in this process
    trained = train(config, session.clips("train"), 10, lambda epoch: None)
    with session.writing(TRAIN) as stage:
        save(stage / NETWORK, Checkpoint(trained, session.binning, session.dataset.classes))
    keep_config(session)
    fold_stage(session)
    return folder


@pytest.fixture(scope="module")
def wide_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 channels of 8x8 before the dense layer: 160 Ki words, where the largest core has 64 Ki."""
    return _run(tmp_path_factory.mktemp("wide") / "run", 4, 40)


@pytest.fixture
def session(wide_run: Path, tmp_path: Path) -> Session:
    shutil.copytree(wide_run, tmp_path / "run")
    return open_session(tmp_path / "run", Silent())


def _target(session: Session) -> Path:
    return session.folder / "2_fold" / "speck2f" / "target"


def test_architectures_are_told_apart() -> None:
    refused = fit_architecture(architecture("a"), SPECK2F)
    assert (refused.fits, refused.network, refused.chip) == (False, "a", "speck2f")
    assert fit_architecture(architecture("speck-s", attention="asa1"), SPECK2F).fits
    assert fit_architecture(architecture("a"), LOIHI2).fits


def test_a_file_is_folded_and_asked(tmp_path: Path) -> None:
    path = tmp_path / "net.nir"
    to_nir.write(network(architecture("speck-s")), path)
    report = fit_network(read(path), SPECK2F, path.name)
    assert (report.fits, report.network) == (True, "net.nir")
    assert report.resources is not None
    assert report.resources.cores == 4
    to_nir.write(network(architecture("d")), path)
    # each neuron of a .nir file is a LIF, whose leak no Speck has
    assert not fit_network(read(path), SPECK2F, path.name).fits


def test_an_architecture_becomes_a_configuration_to_train(tmp_path: Path) -> None:
    out = tmp_path / "new" / "d.toml"
    proposal = apply_to_architecture(architecture("d"), SPECK2F, out)
    text = out.read_text(encoding="utf-8")
    assert text.startswith(f"# architecture d, made to fit SynSense Speck2f; its input is 2x16x16\n# {INPUT}: 1 -> 2")
    config = load_config(out)
    assert config.model == proposal.architecture.model
    assert (config.data.downsample, config.chips.names) == (8, ("speck2f",))
    with pytest.raises(DataError, match="would be lost"):
        apply_to_architecture(architecture("d"), SPECK2F, out)
    assert out.read_text(encoding="utf-8") == text


def test_a_run_is_narrowed_and_goes_on(session: Session) -> None:
    wide = load_network(_target(session))
    assert not fit_run(session, SPECK2F).fits
    done = narrow_run(session, SPECK2F)
    narrowed = load_network(_target(session))
    assert (done.before.fits, done.after.fits) == (False, True)
    assert done.channels == {"sn1": (16, 40)}
    assert violations(narrowed) == []
    assert narrowed.shapes["sn1"] == (16, 8, 8)
    assert json.loads(json.dumps(done.to_json()))["after"]["fits"] is True
    folds = read_json(session.folder / "2_fold" / "fold.json")
    record = folds["narrowed"]["speck2f"]
    assert (record["before"], record["after"]) == (identity(wide), identity(narrowed))
    kept = record["kept"]["sn1"]
    assert len(kept) == 16
    assert (narrowed["conv1"].op.weight == wide["conv1"].op.weight[kept]).all()
    entry = folds["replaced"]["speck2f"][-1]
    assert (entry["layer"], entry["what"]) == ("sn1", "40 channels -> 16")
    assert 0 < entry["spikes_after"] < entry["spikes_before"]
    # the rest of the fold is as it was
    assert identity(load_network(session.folder / "2_fold" / "folded")) == folds["identity"]
    adapt_stage(session)
    adapted = load_network(session.folder / "3_adapt" / "speck2f" / "adapted")
    assert adapted.shapes["sn1"] == (16, 8, 8)
    assert (adapted["conv1"].op.weight != narrowed["conv1"].op.weight).any()
    assert fit_run(session, SPECK2F).fits
    export_stage(session)
    assert (session.folder / "4_export" / "speck2f" / "config.json").stat().st_size > 0


def test_the_command_asks_a_run_without_loading_pytorch_or_numba(session: Session) -> None:
    code = (
        "import sys; from spikefold.pipeline import app\n"
        f"try: app(['fit', {str(session.folder)!r}, '--chip', 'speck2f', '--json'])\n"
        "except SystemExit as end: print({'torch', 'numba'} & {*sys.modules}, end.code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\nset() 3\n")
    assert json.loads(done.stdout.removesuffix("set() 3\n"))["fits"] is False


def test_what_was_computed_from_the_wide_network_goes(session: Session) -> None:
    (session.folder / "3_adapt").mkdir()
    (session.folder / "report.json").write_text("{}", encoding="utf-8")
    narrow_run(session, SPECK2F)
    assert not (session.folder / "3_adapt").exists()
    assert not (session.folder / "report.json").exists()
    # once more: it fits, and nothing is written
    files = {path: path.stat().st_mtime_ns for path in session.folder.rglob("*")}
    again = narrow_run(session, SPECK2F)
    assert again.channels == {}
    assert again.before is again.after
    assert again.after.fits
    assert {path: path.stat().st_mtime_ns for path in session.folder.rglob("*")} == files


def test_a_narrowed_run_is_not_narrowed_twice(session: Session) -> None:
    wide = {suffix: _target(session).with_suffix(suffix).read_bytes() for suffix in (".json", ".safetensors")}
    narrow_run(session, SPECK2F)
    for suffix, content in wide.items():
        _target(session).with_suffix(suffix).write_bytes(content)
    with pytest.raises(ConfigError, match="narrowed before"):
        narrow_run(session, SPECK2F)


def test_a_run_for_another_chip_says_how_to_fold_for_it(session: Session) -> None:
    for ask in (fit_run, narrow_run):
        with pytest.raises(ConfigError, match="was not folded for speck2e, but for speck2f") as caught:
            ask(session, SPECK2E)
        assert "chips.names" in caught.value.hint


def test_where_channels_do_not_do_it_the_run_stays_and_another_network_is_proposed(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run", 2, 4)  # a dense kernel of 17x17: 16 is the most
    session = open_session(folder, Silent())
    before = _target(session).with_suffix(".json").read_bytes()
    with pytest.raises(UnsupportedError, match="fewer channels alone") as caught:
        narrow_run(session, SPECK2F)
    assert ("fc", "17x17") in {(issue.where, issue.got) for issue in caught.value.issues}
    assert "spikefold run --config" in caught.value.hint
    assert "--set data.downsample=2" in caught.value.hint or "--set model.strides=" in caught.value.hint
    assert _target(session).with_suffix(".json").read_bytes() == before
