# SPDX-License-Identifier: Apache-2.0
"""From a ``.nir`` file of another tool to both chips: its spikes, its files, its report, and what is refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
import sinabs.layers as sl
import torch
from torch import nn

from spikefold.errors import ConfigError, DataError, MismatchError, UnsupportedError
from spikefold.export.io import load_network
from spikefold.export.nir.from_nir import read
from spikefold.export.nir.options import NirOptions
from spikefold.hardware.registry import chip_named
from spikefold.hardware.simulators import clocked
from spikefold.stages import chip_files as module
from spikefold.stages.exchange.export_nir import export_file
from spikefold.train.data.clips import ClipSet
from tests.silent import Silent
from tests.stages.exchange.sinabs_file import CLIPS, SIZE, STEPS

ZERO = NirOptions(convention="sinabs", reset="zero", max_spikes=1, v_min="none", steps=STEPS)
SUBTRACT = NirOptions(convention="sinabs", steps=STEPS, v_min="none")
OURS = NirOptions(convention="spikefold", steps=5)


def _run(model: nn.Sequential, frames: np.ndarray) -> dict[str, np.ndarray]:
    """Sinabs' own run: spikes ``(T, N, ...)`` of every spiking layer."""
    found: dict[str, list[np.ndarray]] = {}
    layers = {str(i): layer for i, layer in enumerate(model) if isinstance(layer, sl.IAFSqueeze)}
    for name, layer in layers.items():
        found[name] = []
        layer.register_forward_hook(lambda _, __, out, kept=found[name]: kept.append(out.numpy()))
    for clip in range(frames.shape[1]):
        for layer in layers.values():
            layer.reset_states()
        with torch.no_grad():
            model(torch.from_numpy(frames[:, clip].astype(np.float32)))
    return {name: np.stack(rasters, axis=1) for name, rasters in found.items()}


@pytest.fixture(scope="module")
def clips() -> ClipSet:
    rng = np.random.default_rng(3)
    return ClipSet(rng.poisson(0.15, (STEPS, CLIPS, *SIZE)).clip(max=3).astype(np.uint16), np.array([1, 0, 9, 4]))


def _compare(path: Path, options: NirOptions, model: nn.Sequential, clips: ClipSet) -> int:
    """Spikes compared; the highest count of one neuron and step."""
    ours, theirs = clocked.run(read(path, options), clips.frames).layers, _run(model, clips.frames)
    assert list(ours) == list(theirs)
    most = 0
    for name, raster in theirs.items():
        assert raster.sum() > 0, name
        assert int((ours[name].raster.reshape(raster.shape) != raster).sum()) == 0, name
        most = max(most, int(raster.max()))
    return most


def test_sinabs_with_single_spikes_and_reset_to_zero_goes_to_both_chips(
    files: Any, clips: ClipSet, tmp_path: Path
) -> None:
    model, path = files(single=True, pool=False)
    assert _compare(path, ZERO, model, clips) == 1
    said = Silent()
    report = export_file(path, ("speck2f", "loihi2"), tmp_path / "out", ZERO, said, clips)
    assert json.loads((tmp_path / "out" / "export.json").read_text(encoding="utf-8")) == json.loads(
        json.dumps(report)
    )
    assert report["source"] == {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert report["input"]["max_count"] == int(clips.frames.max())
    for chip, runner in (("speck2f", "sinabs discretised"), ("loihi2", "lava fixed-point")):
        parity = report["parity"][chip]
        assert parity["runners"] == ["reference", "torch", runner]
        assert (parity["mismatches"], parity["layers"], parity["steps"], parity["clips"]) == (0, 3, STEPS, CLIPS)
        assert parity["neurons"] == 4 * 16 * 16 + 6 * 8 * 8 + 10
        assert all(comparison["clips"] == CLIPS for comparison in parity["comparisons"])
        assert all(spikes > 0 for spikes in report["accuracy"][chip]["layers"].values())
        assert report["accuracy"][chip]["clips"] == CLIPS
        integer = load_network(tmp_path / "out" / chip / "network")
        assert integer.is_integer
        assert clocked.run(integer, clips.frames).spikes == report["accuracy"][chip]["spikes"]
    assert report["not_run"] == []
    assert {"speck2f/config.json", "loihi2/network.net", "loihi2/network.py", "folded.json"} <= set(
        report["artefacts"]
    )
    for name in report["artefacts"]:
        assert (tmp_path / "out" / name).stat().st_size > 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    assert str(tmp_path) not in json.dumps(report)
    assert sum("equal" in line for line in said.lines) == 4


def test_sinabs_as_it_is_by_default_goes_to_speck_and_is_refused_for_loihi_by_name(
    files: Any, clips: ClipSet, tmp_path: Path
) -> None:
    model, path = files(single=False, pool=True)
    assert _compare(path, SUBTRACT, model, clips) > 1
    report = export_file(path, ("speck2f",), tmp_path / "out", SUBTRACT, Silent(), clips)
    parity = report["parity"]["speck2f"]
    assert (parity["mismatches"], parity["layers"]) == (0, 3)
    assert all(spikes > 0 for spikes in report["accuracy"]["speck2f"]["layers"].values())
    with pytest.raises(UnsupportedError, match="does not fit loihi2") as caught:
        export_file(path, ("loihi2", "speck2f"), tmp_path / "both", SUBTRACT, Silent(), clips)
    found = {(issue.where, issue.rule) for issue in caught.value.issues}
    for layer in ("1", "3", "7"):
        assert {(f"loihi2: {layer}", "reset"), (f"loihi2: {layer}", "spikes a step")} <= found
    assert all(where.startswith("loihi2: ") for where, _ in found)
    assert "speck2f" in caught.value.hint
    # what fits is written and proven all the same, and the report holds the reasons of the other
    both = json.loads((tmp_path / "both" / "export.json").read_text(encoding="utf-8"))
    assert list(both["chips"]) == ["speck2f"]
    assert both["parity"]["speck2f"]["mismatches"] == 0
    assert {issue["where"] for issue in both["refused"]["loihi2"]} >= {"1", "3", "7"}
    with pytest.raises(UnsupportedError, match="does not fit loihi2"):
        export_file(path, ("loihi2",), tmp_path / "none", SUBTRACT, Silent(), clips)
    assert not (tmp_path / "none").exists()
    # the wrong convention is noticed: sinabs' own run differs
    with pytest.raises(AssertionError):
        _compare(path, ZERO, model, clips)


def test_without_recordings_the_report_says_what_was_not_run(files: Any, tmp_path: Path) -> None:
    _, path = files(single=True, pool=False)
    report = export_file(path, ("speck2f",), tmp_path / "a" / "b", ZERO, Silent())
    assert (report["parity"], report["accuracy"]) == ({}, {})
    assert {item["what"] for item in report["not_run"]} == {"parity", "accuracy", "proof of the folds"}
    assert all("--data" in item["why"] for item in report["not_run"])
    assert (tmp_path / "a" / "b" / "speck2f" / "config.json").stat().st_size > 0


def _mixed(path: Path) -> Path:
    """Average pools before and behind neurons, and a threshold a channel: each needs a pass."""
    rng = np.random.default_rng(2)
    theta = np.broadcast_to(np.array([1.0, 0.5, 2.0]).reshape(3, 1, 1), (3, 4, 4))
    pool = nir.AvgPool2d(*(np.array(v) for v in ([2, 2], [2, 2], [0, 0])))
    nodes = {
        "in": nir.Input({"input": np.array([2, 8, 8])}),
        "c": nir.Conv2d(np.array([8, 8]), rng.normal(0.4, 0.6, (3, 2, 3, 3)), 1, "same", 1, 1, np.zeros(3)),
        "p": pool,
        "n": nir.IF(np.ones((3, 4, 4)), theta),
        "p2": pool,
        "f": nir.Flatten({"input": np.array([3, 2, 2])}, 0, -1),
        "d": nir.Linear(rng.normal(0.4, 0.6, (4, 12))),
        "o": nir.IF(np.ones(4), np.ones(4)),
        "out": nir.Output({"output": np.array([4])}),
    }
    nir.write(str(path), nir.NIRGraph(nodes, list(pairwise(nodes))))
    return path


def test_pools_and_thresholds_are_folded_and_each_fold_proven(tmp_path: Path) -> None:
    path = _mixed(tmp_path / "net.nir")
    frames = np.random.default_rng(0).poisson(0.7, (5, 3, 2, 8, 8)).clip(max=3).astype(np.uint16)
    clips = ClipSet(frames, np.array([0, 1, 2]))
    report = export_file(path, ("speck2f",), tmp_path / "out", OURS, Silent(), clips)
    assert [proof["pass"] for proof in report["passes"]] == [
        "fold_spike_pooling",
        "fold_pooling",
        "uniform_thresholds",
    ]
    assert all(proof["spikes"] > 50 and proof["clips"] == 3 for proof in report["passes"])
    assert report["parity"]["speck2f"]["mismatches"] == 0
    folded = load_network(tmp_path / "out" / "folded")
    before, after = (
        clocked.run(read(path, OURS), frames),
        clocked.run(folded, frames),
    )
    for name, layer in before.layers.items():
        assert layer.spikes > 20
        assert int((after.layers[name].raster != layer.raster).sum()) == 0
    without = export_file(path, ("speck2f",), tmp_path / "plain", OURS, Silent())
    assert all(proof["proof"].startswith("NOT RUN") for proof in without["passes"])


def test_a_mismatch_is_written_down_and_then_fails(
    files: Any, clips: ClipSet, tmp_path: Path, monkeypatch: Any
) -> None:
    _, path = files(single=True, pool=False)

    def wrong(real: Any, integer: Any) -> Any:
        last = integer.layers[-1]
        lower = replace(last, op=replace(last.op, threshold=last.op.threshold // 2))
        return _other(replace(integer, layers=(*integer.layers[:-1], lower)))

    def _other(network: Any) -> Any:
        return lambda frames, *, potentials=False: replace(
            clocked.run(network, frames, potentials=potentials), runner="wrong"
        )

    monkeypatch.setattr(module, "chip_named", lambda name: replace(chip_named(name), vendor_simulator=wrong))
    with pytest.raises(MismatchError, match="MISMATCHES"):
        export_file(path, ("speck2f",), tmp_path / "out", ZERO, Silent(), clips)
    report = json.loads((tmp_path / "out" / "export.json").read_text(encoding="utf-8"))
    assert report["parity"]["speck2f"]["mismatches"] > 0
    assert report["parity"]["speck2f"]["comparisons"][1]["first"]["layer"] == "6"


# ---- refusals ---------------------------------------------------------------------------------------------------


def test_clips_that_do_not_fit_are_refused(files: Any, clips: ClipSet, tmp_path: Path) -> None:
    _, path = files(single=True, pool=False)
    for options, given, said in (
        (ZERO.model_copy(update={"steps": 5}), clips, "5 steps"),
        (ZERO, ClipSet(clips.frames[..., :33], clips.labels), "do not fit"),
        (ZERO, ClipSet(clips.frames, clips.labels + 1), "labels"),
        (ZERO, ClipSet(clips.frames, clips.labels - 1), "labels"),
        (ZERO.model_copy(update={"max_count": 1}), clips, "max_count is 1"),
    ):
        with pytest.raises(DataError, match=said):
            export_file(path, ("speck2f",), tmp_path / "out", options, Silent(), given)
    assert not (tmp_path / "out").exists()


def test_a_silent_layer_proves_nothing_and_leaves_nothing(files: Any, clips: ClipSet, tmp_path: Path) -> None:
    _, path = files(single=True, pool=False)
    high = tmp_path / "high.nir"
    high.write_bytes(path.read_bytes())
    with h5py.File(high, "a") as file:
        file["node/nodes/6/v_threshold"][...] = 1000.0
    with pytest.raises(MismatchError, match="never fires"):
        export_file(high, ("speck2f",), tmp_path / "deep" / "out", ZERO, Silent(), clips)
    assert [entry.name for entry in tmp_path.iterdir()] == ["high.nir"]


def test_the_folder_is_whole_or_not_there_and_never_somebody_elses(files: Any, tmp_path: Path) -> None:
    _, path = files(single=True, pool=False)
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="would be lost"):
        export_file(path, ("speck2f",), out, ZERO, Silent())
    assert [entry.name for entry in out.iterdir()] == ["thesis.tex"]
    with pytest.raises(DataError, match="cannot write there"):
        export_file(path, ("speck2f",), out / "thesis.tex" / "x", ZERO, Silent())
    (out / "thesis.tex").unlink()
    export_file(path, ("loihi2",), out, ZERO, Silent())
    export_file(path, ("speck2f",), out, ZERO, Silent())
    assert sorted(entry.name for entry in out.iterdir()) == [
        "export.json",
        "folded.json",
        "folded.safetensors",
        "speck2f",
    ]
    with pytest.raises(ConfigError, match="no chip"):
        export_file(path, (), out, ZERO, Silent())
    with pytest.raises(ConfigError, match="Did you mean 'speck2f'"):
        export_file(path, ("speck2g",), out, ZERO, Silent())
