# SPDX-License-Identifier: Apache-2.0
"""From a ``.nir`` file of another tool to both chips: its spikes, its files, its report, and what is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
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
from sinabs.activation import MembraneReset, MembraneSubtract, MultiSpike, SingleSpike
from sinabs.nir import to_nir
from torch import nn

from spikefold.errors import ConfigError, DataError, MismatchError, UnsupportedError
from spikefold.export.io import load_network
from spikefold.export.nir.from_nir import read
from spikefold.export.nir.options import NirOptions
from spikefold.hardware.registry import chip_named
from spikefold.hardware.simulators import clocked
from spikefold.stages import chip_files as module
from spikefold.stages.exchange.export_nir import clips_of, export_file
from spikefold.train.data.clips import ClipSet
from spikefold.train.data.events import Recording, pack_events, save_packed
from tests.silent import Silent

STEPS, CLIPS, SIZE = 6, 4, (2, 34, 34)
ZERO = NirOptions(convention="sinabs", reset="zero", max_spikes=1, v_min="none", steps=STEPS)
SUBTRACT = NirOptions(convention="sinabs", steps=STEPS, v_min="none")
OURS = NirOptions(convention="spikefold", steps=5)
# by path of the layer in the model below: what sinabs leaves open, though nir cannot write it so
_SHAPES = {"0": (34, 34), "2": (16, 16)}


def _dyadic(shape: torch.Size, low: int, high: int) -> torch.Tensor:
    """Weights in 64ths, so that float32 and float64 hold every sum exactly and no spike hangs on rounding."""
    return torch.randint(low, high, tuple(shape), generator=torch.Generator().manual_seed(len(shape))) / 64


def _sinabs(*, single: bool, pool: bool) -> nn.Sequential:
    def spiking() -> sl.IAFSqueeze:
        if single:
            return sl.IAFSqueeze(batch_size=1, spike_fn=SingleSpike, reset_fn=MembraneReset())
        return sl.IAFSqueeze(batch_size=1, spike_fn=MultiSpike, reset_fn=MembraneSubtract())

    tail = (
        [sl.SumPool2d(2), nn.Flatten(), nn.Linear(6 * 4 * 4, 10)] if pool else [nn.Flatten(), nn.Linear(6 * 64, 10)]
    )
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, bias=False),
        spiking(),
        nn.Conv2d(4, 6, 3, stride=2, padding=1),
        spiking(),
        *tail,
        spiking(),
    )
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.data = _dyadic(layer.weight.shape, -12, 18)
            if layer.bias is not None:
                layer.bias.data = torch.arange(len(layer.bias)) / 64 - 0.05859375
    return model


def _save(model: nn.Sequential, path: Path) -> Path:
    """As a user of sinabs does, after the one field is filled in that nir cannot write empty."""
    with torch.no_grad():
        model(torch.zeros(1, *SIZE))
    graph = to_nir(model, torch.zeros(1, *SIZE))
    for name, node in graph.nodes.items():
        if isinstance(node, nir.Conv2d):
            node.input_shape = np.array(_SHAPES[name])
        elif isinstance(node, nir.Flatten):
            node.input_type = {
                "input": np.array((6, 4, 4) if "SumPool2d" in map(_kind, graph.nodes.values()) else (6, 8, 8))
            }
    nir.write(str(path), graph)
    return path


def _kind(node: object) -> str:
    return type(node).__name__


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


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[nn.Sequential, Path]]:
    folder = tmp_path_factory.mktemp("nir")

    def make(*, single: bool, pool: bool) -> tuple[nn.Sequential, Path]:
        model = _sinabs(single=single, pool=pool)
        return model, _save(model, folder / f"{single}{pool}.nir")

    return make


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


# ---- recordings and the command line ----------------------------------------------------------------------------


def _recordings(folder: Path, sensor: tuple[int, int]) -> Path:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for split, count in (("train", 6), ("test", 4)):
        made = []
        for index in range(count):
            t = np.sort(rng.integers(0, 300_000, 3000))
            x, y, p = rng.integers(0, sensor[1], 3000), rng.integers(0, sensor[0], 3000), rng.integers(0, 2, 3000)
            made.append(Recording(pack_events(t, x, y, p), sensor, index % 2, f"r{index}"))
        save_packed(folder / f"{split}.npz", made)
    return folder


def test_recordings_are_down_sampled_to_the_input_of_the_file(files: Any, tmp_path: Path) -> None:
    _, path = files(single=True, pool=False)
    source = f"npz:{_recordings(tmp_path / 'large', (67, 68))}"
    options, made, calibration = clips_of(source, path, ZERO, Silent())
    assert made.frames.shape == (STEPS, 4, *SIZE)
    assert calibration.shape == (STEPS, 6, *SIZE)
    assert 0 < calibration.sum() <= 6 * 3000
    assert options.dt_us is not None
    assert 49_000 < options.dt_us <= 50_001
    assert options.max_count is not None
    assert made.frames.max() <= options.max_count
    chosen, made, _ = clips_of(source, path, ZERO.model_copy(update={"dt_us": 1000, "max_count": 2}), Silent())
    assert (chosen.dt_us, chosen.max_count) == (1000, 2)
    assert made.frames.sum() < 4 * 3000 / 10
    for name, sensor in (("wide", (68, 34)), ("small", (33, 34))):
        with pytest.raises(DataError, match="do not give the network's input") as caught:
            clips_of(f"npz:{_recordings(tmp_path / name, sensor)}", path, ZERO, Silent())
        assert f"{sensor[1]}x{sensor[0]} pixels" in str(caught.value)


def test_the_command_exports_a_file(files: Any, program: Any, tmp_path: Path) -> None:
    _, path = files(single=True, pool=False)
    data = f"npz:{_recordings(tmp_path / 'data', (34, 34))}"
    common = ("export", str(path), "--chip", "speck2f", "--convention", "sinabs", "--steps", "6")
    zero = ("--nir", "reset=zero", "--nir", "max_spikes=1", "--nir", "v_min=none")
    done = program(*common, *zero, "--data", data, "--out", "chips", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "reference = torch = sinabs discretised: 0 mismatches" in done.stdout
    assert "accuracy" in done.stdout
    assert json.loads((tmp_path / "chips" / "export.json").read_text(encoding="utf-8"))["input"]["steps"] == 6

    done = program(*common, *zero, "--out", "bare", "--dt-us", "700", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "NOT RUN  parity: no labelled recordings were given (--data)" in done.stdout

    bad = tmp_path / "bad.nir"
    bad.write_bytes(path.read_bytes()[:5000])
    before = sorted(entry.name for entry in tmp_path.iterdir())
    for code, said, arguments in (
        (2, "--out", common),
        (2, "Did you mean 'reset'?", (*common, "--nir", "resets=zero", "--out", "x")),
        (2, "go with FILE.nir or FILE.net", ("export", str(tmp_path), "--chip", "speck2f")),
        (3, "loihi2: 1: reset", ("export", str(path), "--chip", "loihi2", *common[4:], "--out", "x")),
        (6, "cannot read the NIR graph", ("export", str(bad), "--out", "x")),
        (6, "no run there", ("export", str(tmp_path))),
    ):
        done = program(*arguments, cwd=tmp_path)
        assert done.returncode == code, done.stdout + done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert sorted(entry.name for entry in tmp_path.iterdir()) == before
