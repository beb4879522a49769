# SPDX-License-Identifier: Apache-2.0
"""A checkpoint of the authors' code becomes a run, and every later stage takes it to both chips and the report."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from spikefold.config import Config, DataConfig
from spikefold.energy.counts.attention import cost_of
from spikefold.errors import DataError
from spikefold.pipeline import app
from spikefold.session import open_session
from spikefold.stage_table import ADAPT, EXPORT, FOLD, STAGES, VALIDATE
from spikefold.stages.exchange.import_checkpoint import import_asa_snn
from spikefold.stages.report.write import write_report
from spikefold.train.checkpoint import load
from spikefold.train.data.events import Recording, pack_events, save_packed
from tests.silent import Silent
from tests.train.published_cases import STEPS, three_layers

SENSOR = (34, 34)
FEW = ("adapt.epochs=1", "gates.clips=10", "gates.tolerance=1.0", "chips.parity_clips=2", "chips.vendor_clips=1")


def _checkpoint(folder: Path, reduction: int | None, classes: int = 10) -> Path:
    torch.manual_seed(2)
    path = folder / "net.pth"
    torch.save(three_layers((4, 6, 6), reduction, classes, hidden=12), path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Recordings of ten classes, of noise: nothing is claimed about accuracy."""
    folder, rng, number = tmp_path_factory.mktemp("recordings"), np.random.default_rng(0), 1500
    for split, count in (("train", 10), ("test", 3)):
        made = []
        for index in range(count):
            t = np.sort(rng.integers(0, STEPS * 15_000, number))
            y, x, p = (rng.integers(0, limit, number) for limit in (*SENSOR, 2))
            made.append(Recording(pack_events(t, x, y, p), SENSOR, index % 10, f"r{index}"))
        save_packed(folder / f"{split}.npz", made)
    return f"npz:{folder}"


@pytest.mark.lava
@pytest.mark.parametrize("reduction", [1, 4])
def test_a_published_checkpoint_goes_to_both_chips_and_the_report(data: str, tmp_path: Path, reduction: int) -> None:
    run, path = tmp_path / "run", _checkpoint(tmp_path, reduction)
    arguments = ["import", "asa-snn", str(path), "--arch", "a", "--reduction", str(reduction)]
    sets = [part for key in FEW for part in ("--set", key)]
    done = CliRunner().invoke(app, [*arguments, "--data", data, "--out", str(run), *sets])
    assert done.exit_code == 0, done.output
    config = tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))
    assert (config["data"]["steps"], config["data"]["dt_us"]) == (STEPS, 15_000)
    assert config["model"]["reduction_ratio"] == reduction
    session = open_session(run, Silent())
    for stage in STAGES[1:] if reduction > 1 else (FOLD, ADAPT, EXPORT, VALIDATE):
        if stage.in_run:
            stage.load()(session)
    if reduction == 1:  # what follows does not know of a reduction but by the operations of the attention
        chips = json.loads((run / "6_validate" / "validate.json").read_text(encoding="utf-8"))["chips"]
        assert [(chips[chip]["mismatches"], chips[chip]["spikes"] > 200) for chip in chips] == [(0, True)] * 2
        return
    write_report(session)
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert report["training"]["protocol"]["name"] == "imported"
    assert "net.pth" in (run / "report.html").read_text(encoding="utf-8")
    for chip in ("speck2f", "loihi2"):
        assert report["parity"][chip]["mismatches"] == 0
        assert report["parity"][chip]["spikes"] > 200
    shapes = {"asa1": (4, 34, 34), "asa2": (6, 17, 17), "asa3": (6, 8, 8)}
    macs = report["energy"]["networks"]["float"]["budget"]["attention_macs_per_clip"]
    assert macs == cost_of("asa1", shapes, STEPS, 1, reduction).macs
    assert macs < cost_of("asa1", shapes, STEPS, 1).macs


def test_what_does_not_fit_the_checkpoint_is_refused_before_anything_is_written(data: str, tmp_path: Path) -> None:
    path, out = _checkpoint(tmp_path, 4), tmp_path / "run"
    found = DataConfig(source=data)
    with pytest.raises(DataError, match="from 8 steps to 2, with a reduction of 2"):
        import_asa_snn(path, "a", out, Config(data=found), Silent(), reduction=2)
    with pytest.raises(DataError, match="8 steps, 5 were asked for"):
        import_asa_snn(path, "a", out, Config(data=found.model_copy(update={"steps": 5})), Silent())
    with pytest.raises(DataError, match="none of architecture b"):
        import_asa_snn(path, "b", out, Config(data=found), Silent())
    with pytest.raises(DataError, match="34x34 pixels, down-sampled by 2"):
        import_asa_snn(_checkpoint(tmp_path, 4), "a", out, Config(data=found.model_copy(update={"downsample": 2})),
                       Silent())  # fmt: skip
    with pytest.raises(DataError, match="11 classes, the recordings have 10"):
        import_asa_snn(_checkpoint(tmp_path, 4, classes=11), "a", out, Config(data=found), Silent())
    assert not out.exists()


def test_a_residual_network_of_spikingjelly_comes_in(data: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    from spikefold.train.models.architectures import architecture
    from spikefold.train.models.spiking_net import SpikingNet
    from spikefold.train.published_names import names_of

    small = architecture("sew18").model.model_copy(update={"channels": (2, 3, 4, 5)})
    ours = SpikingNet(small, (2, 34, 34), 4, 10)
    state = {theirs: ours.state_dict()[name] for name, theirs in names_of({}, "sew18").items()}
    assert {"layer2.0.downsample.1.running_var", "layer4.1.conv2.weight", "fc.bias"} <= set(state)
    torch.save(state, tmp_path / "sew.pth")
    config = Config(data=DataConfig(source=data, steps=4))
    session = import_asa_snn(tmp_path / "sew.pth", "sew18", tmp_path / "run", config, Silent())
    found = load(session.folder / "1_train" / "network")
    frames = torch.poisson(torch.full((4, 1, 2, 34, 34), 1.0))
    with torch.no_grad():
        current, _ = ours.eval()(frames)
        assert torch.equal(found.model(frames)[0], current)
    assert current.std() > 0
