# SPDX-License-Identifier: Apache-2.0
"""``spikefold export --from net:FILE``: lava-dl's own file, proven against lava, simulated and counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from spikefold.errors import DataError, UnsupportedError
from spikefold.export.io import load_network
from spikefold.hardware.simulators import clocked
from spikefold.pipeline import app
from spikefold.stages.exchange.export_net import export_net, imported
from spikefold.train.data.clips import ClipSet
from tests.silent import Silent

STEPS, CLIPS = 6, 4


def _slayer_file(path: Path, threshold: int = 80) -> Path:
    """Conv, flatten and dense as slayer writes them: types of ten bytes, even weights, decays of leaky neurons."""
    rng = np.random.default_rng(2)

    def layer(group: h5py.Group, kind: str, shape: tuple[int, ...], **data: object) -> None:
        group["type"], group["shape"] = np.array([kind], dtype="S10"), np.array(shape)
        for key, value in data.items():
            group[key] = value
        if kind in ("conv", "dense"):
            neuron = group.create_group("neuron")
            neuron["type"] = np.array(["LOIHI"], dtype="S10")
            neuron["iDecay"], neuron["vDecay"], neuron["vThMant"] = 4096, 700, threshold

    with h5py.File(path, "w") as file:
        root = file.create_group("layer")
        layer(root.create_group("0"), "input", (2, 8, 8))
        layer(
            root.create_group("1"),
            "conv",
            (4, 4, 4),
            weight=2 * rng.integers(-20, 40, (4, 2, 3, 3)),
            stride=2,
            padding=1,
            dilation=1,
            groups=1,
        )
        layer(root.create_group("2"), "flatten", (64,))
        layer(root.create_group("3"), "dense", (3,), weight=2 * rng.integers(-30, 40, (3, 64)))
    return path


@pytest.fixture
def clips() -> ClipSet:
    rng = np.random.default_rng(4)
    frames = (rng.random((STEPS, CLIPS, 2, 8, 8)) < 0.3).astype(np.uint16)
    return ClipSet(frames, np.array([0, 1, 2, 0]))


@pytest.mark.lava
def test_the_file_is_proven_against_lava_and_counted(tmp_path: Path, clips: ClipSet) -> None:
    path = _slayer_file(tmp_path / "n.net")
    network, none = imported(path, None, Silent(), steps=STEPS, dt_us=1000, classes=None)
    assert none is None
    report = export_net(path, tmp_path / "out", network, Silent(), clips)
    parity = report["parity"]["loihi2"]
    assert parity["runners"] == ["reference", "torch", "lava fixed-point"]
    assert (parity["mismatches"], parity["layers"], parity["clips"]) == (0, 2, CLIPS)
    assert parity["spikes"] > 100
    kept = load_network(tmp_path / "out" / "loihi2" / "network")
    trace = clocked.run(kept, clips.frames)
    assert report["accuracy"]["loihi2"]["spikes"] == trace.spikes
    assert sum(layer["spikes"] for layer in report["counts"]["layers"]) == trace.spikes
    assert report["counts"]["layers"][0]["input_events"] == int(clips.frames.sum())
    for name in report["artefacts"]:
        assert (tmp_path / "out" / name).stat().st_size > 0
    assert json.loads((tmp_path / "out" / "export.json").read_text(encoding="utf-8"))["not_run"] == []


def test_what_cannot_be_exported(tmp_path: Path, clips: ClipSet) -> None:
    path = _slayer_file(tmp_path / "n.net", threshold=200_000)
    network, _ = imported(path, None, Silent(), steps=STEPS, dt_us=1000, classes=None)
    with pytest.raises(UnsupportedError, match="does not fit") as caught:
        export_net(path, tmp_path / "out", network, Silent(), clips)
    assert len(caught.value.issues) >= 2
    assert not (tmp_path / "out").exists()
    good, _ = imported(_slayer_file(tmp_path / "m.net"), None, Silent(), steps=STEPS + 1, dt_us=None, classes=None)
    with pytest.raises(DataError, match="do not fit"):
        export_net(tmp_path / "m.net", tmp_path / "out", good, Silent(), clips)


def test_the_command_takes_it_by_two_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, [*arguments])

    monkeypatch.chdir(tmp_path)
    path = _slayer_file(tmp_path / "n.net")
    done = run("export", "--from", f"net:{path}", "--steps", "6", "--out", "chips")
    assert done.exit_code == 0, done.output
    assert "NOT RUN  parity" in done.output
    assert (tmp_path / "chips" / "loihi2" / "network.net").is_file()
    again = run("export", str(path), "--out", "others")
    assert again.exit_code == 2
    assert "steps" in again.output
    assert run("export", "--from", f"onnx:{path}").exit_code == 2
