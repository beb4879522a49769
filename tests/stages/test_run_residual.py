# SPDX-License-Identifier: Apache-2.0
"""One whole run of a small residual network with ASA in its blocks: every stage, no chip, three clips each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from spikefold.event_dtype import EVENT_DTYPE
from spikefold.export.io import load_network
from spikefold.export.nir.from_nir import read as read_nir
from spikefold.export.ops import AvgPool2d, BatchNorm, Conv2d, Dense, Gate
from spikefold.hardware.simulators import clocked, reference
from spikefold.hardware.simulators.accuracy import predictions
from spikefold.hardware.simulators.trace import load_trace
from spikefold.session import NETWORK, open_session
from spikefold.stage_table import TRAIN
from spikefold.stages.evaluate.on_recordings import Asked, evaluate
from spikefold.train.checkpoint import load
from spikefold.train.data.clips import Windows
from spikefold.train.data.events import Recording, save_packed
from spikefold.train.evaluate import judged
from tests.silent import Silent

SIDE, CLASSES, STEPS, EACH, TEST = 32, 3, 4, 3, 9
SETS = (
    "model.family=sew", "model.channels=[4,8]", "model.strides=[1,2]", "model.threshold=0.5", "model.voters=2",
    f"data.steps={STEPS}", "data.downsample=1", "data.dt_us=1000", f"data.clips={EACH}",
    "train.epochs=4", "train.batch=4", "train.lr=0.01", "gates.tolerance=1.0", "chips.parity_clips=6",
)  # fmt: skip
LAYERS = [
    "sn1", "pool1", "block1a.main.sn1", "block1a.main.sn2", "block1b.main.sn1", "block1b.main.sn2",
    "block2a.main.sn1", "block2a.main.sn2", "block2a.shortcut.sn", "block2b.main.sn1", "block2b.main.sn2", "out",
]  # fmt: skip
GATES = [f"block{stage}{block}.main.asa{number}" for stage in "12" for block in "ab" for number in "12"]


def _recordings(count: int, seed: int) -> list[Recording]:
    """Blobs of events that move to the right, down or nowhere over eight milliseconds, two clips long."""
    rng, found = np.random.default_rng(seed), []
    for index in range(count):
        label, events = index % CLASSES, np.zeros(900, EVENT_DTYPE)
        events["t"] = np.sort(rng.integers(0, 8000, 900))
        moved = events["t"] // 400
        for axis, key in enumerate("xy"):
            place = rng.integers(3, 9) + rng.integers(0, 5, 900) + (moved if label == axis else 0)
            events[key] = place
        events["p"] = rng.integers(0, 2, 900)
        found.append(Recording(events, (SIDE, SIDE), label, str(index)))
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("data")
    save_packed(folder / "train.npz", _recordings(36, 0))
    save_packed(folder / "test.npz", _recordings(TEST, 1))
    return f"npz:{folder}"


def _arguments(data: str, folder: Path, *more: str) -> list[str]:
    sets = [part for key in (*SETS, *more) for part in ("--set", key)]
    return ["run", "--data", data, "--out", str(folder), *sets]


@pytest.fixture(scope="module")
def run(program: Any, data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run, all stages done, and analysed."""
    folder: Path = tmp_path_factory.mktemp("project") / "run"
    done = program(*_arguments(data, folder, "chips.names=[]"))
    assert done.returncode == 0, done.stderr
    assert "NOT RUN  chips: chips.names is empty" in done.stdout
    done = program("analyse", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def report(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "report.json").read_text(encoding="utf-8"))
    return found


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _spikes(run: Path, variant: str) -> dict[str, int]:
    """Of all test clips, by layer."""
    layers = _json(run / "5_simulate" / "simulate.json")["variants"][variant]["layers"]
    return {name: layer["spikes"] for name, layer in layers.items()}


def test_the_folds_are_proven_the_global_mean_among_them(run: Path, report: dict[str, Any]) -> None:
    assert [proof["pass"] for proof in report["passes"]] == ["fold_global_mean", "fold_batchnorm", "fold_attention"]
    for proof in report["passes"]:
        assert (proof["layers"], proof["clips"], proof["steps"]) == (len(LAYERS), 6, STEPS)
        assert proof["spikes"] > 2000
        assert all(max(root["distance"]) <= root["bound"] < 1e-9 for root in proof["roots"])
    unfolded, folded = (load_network(run / "2_fold" / name) for name in ("unfolded", "folded"))
    assert [la.name for la in unfolded if isinstance(la.op, Gate)] == GATES == list(report["gates"])
    assert not any(isinstance(la.op, Gate | BatchNorm | AvgPool2d) for la in folded)
    assert folded["fc"].inputs == ("block2b.main.sn2", "block2a.main.sn2", "block2a.shortcut.sn")
    dense = folded["fc"].op
    assert isinstance(dense, Dense)
    assert dense.weight.shape == (CLASSES * 2, 8 * 4 * 4)
    assert report["choices"]["exchange"]["form"] in ("mask", "channel", "rank1", "neuron")


def test_every_variant_has_every_layer_and_folding_changes_next_to_nothing(run: Path, report: dict[str, Any]) -> None:
    variants = {variant["name"]: variant for variant in report["accuracy_ladder"]}
    assert list(variants) == ["float", "vanilla", "constant", "static", "folded"]
    for name in variants:
        trace = load_trace(run / "5_simulate" / f"trace.{name}.npz")
        assert list(trace.layers) == LAYERS
        assert all(layer.raster.shape[:2] == (STEPS, 1) for layer in trace.layers.values())
        spikes = _spikes(run, name)
        assert list(spikes) == LAYERS
        assert sum(spikes.values()) > 2000
        assert sum(spikes.values()) > trace.spikes > 0  # that of one clip
        assert sum(count > 0 for count in spikes.values()) >= len(LAYERS) - 2
    assert sum(layer["flips"] for layer in variants["static"]["changed"]["layers"].values()) > 0
    # float32 against float64, one function: next to no spike may differ
    changed = variants["folded"]["changed"]["layers"]
    assert list(changed) == LAYERS
    assert sum(layer["flips"] for layer in changed.values()) <= 1e-3 * variants["folded"]["spikes_per_clip"] * TEST


def test_the_clocked_engine_adds_residual_spikes_as_the_reference_does(run: Path) -> None:
    frames = open_session(run, Silent()).clips("test").first(3).frames
    network = load_network(run / "2_fold" / "folded")
    fast, plain = clocked.run(network, frames).layers, reference.run(network, frames).layers
    assert list(fast) == list(plain) == LAYERS
    differing = sum(int((fast[name].raster != plain[name].raster).sum()) for name in LAYERS)
    assert differing <= 2, "sums in float64 that round otherwise at a threshold"
    assert sum(layer.spikes for layer in plain.values()) > 1000


def test_variants_on_frames_are_judged_by_the_vote_of_all_clips(run: Path, report: dict[str, Any]) -> None:
    session = open_session(run, Silent())
    windows = Windows(session.dataset.test, session.binning, EACH)
    trained = load(run / TRAIN.folder / NETWORK).model
    found = {variant["name"]: variant["voted"] for variant in report["accuracy_ladder"]}
    assert all(
        (vote["recordings"], vote["clips"], vote["vote"]) == (TEST, EACH, "majority") for vote in found.values()
    )
    assert found["float"]["accuracy"] == judged(trained, windows, "majority")
    assert {name: found[name]["accuracy"] for name in ("float", "vanilla")} == {
        key: report["training"]["voted"][name]["accuracy"]
        for key, name in (("float", NETWORK), ("vanilla", "vanilla"))
    }
    counts = clocked.run(load_network(run / "2_fold" / "folded"), windows.frames(range(TEST))).output_counts(CLASSES)
    right = (predictions(counts).reshape(TEST, EACH) == windows.labels[:, None]).sum(axis=1)
    assert found["folded"]["accuracy"] == (2 * right > EACH).mean()
    assert found["folded"]["interval"][0] <= found["folded"]["accuracy"] <= found["folded"]["interval"][1]
    assert (windows.frames([0])[:, 0] == session.clips("test").frames[:, 0]).all(), "the first clip is the one traced"


def test_on_its_own_test_set_the_vote_is_that_of_the_report(run: Path, data: str, report: dict[str, Any]) -> None:
    found = evaluate(open_session(run, Silent()), Asked(data))
    ladder = {variant["name"]: variant for variant in report["accuracy_ladder"]}
    assert list(found.results) == ["float", "vanilla"]
    for name, figures in found.results.items():
        assert figures["accuracy"] == ladder[name]["accuracy"]
        assert len(found.engines[name].voted) == TEST
        told = {key: ladder[name]["voted"][key] for key in ("accuracy", "interval", "clips", "vote")}
        assert figures["voted"] == told
        assert figures["spikes"]["mean"] == ladder[name]["spikes_per_clip"] > 100


def test_exchange_files_add_what_a_block_adds(run: Path, report: dict[str, Any]) -> None:
    assert {"model.nir", "model.onnx"} <= set(report["artefacts"])
    folded = load_network(run / "2_fold" / "folded")
    frames = open_session(run, Silent()).clips("test").first(2).frames
    expected = clocked.run(folded, frames).layers
    again = read_nir(run / "4_export" / "model.nir")
    assert {la.name: set(la.inputs) for la in again if isinstance(la.op, Conv2d)} == {
        la.name: set(la.inputs) for la in folded if isinstance(la.op, Conv2d)
    }
    model = ReferenceEvaluator(onnx.load(run / "4_export" / "model.onnx"))
    states = {f"{name}_state": np.zeros((2, *folded.shapes[name]), np.float32) for name in LAYERS}
    different = spikes = 0
    for step, frame in enumerate(frames):
        values = dict(
            zip(model.output_names, model.run(None, {"frame": frame.astype(np.float32), **states}), strict=True)
        )
        states = {f"{name}_state": values[f"{name}_next"] for name in LAYERS}
        for name in LAYERS:
            different += int((values[f"{name}_spikes"] != expected[name].raster[step]).sum())
            spikes += int(values[f"{name}_spikes"].sum())
    assert spikes == pytest.approx(sum(layer.spikes for layer in expected.values()), rel=1e-3)
    assert spikes > 500
    assert different <= 1e-3 * spikes, "float32 against float64"


def test_energy_counts_the_attention_inside_the_blocks(run: Path, report: dict[str, Any]) -> None:
    networks = report["energy"]["networks"]
    maps = {"1": (4, 8, 8), "2": (8, 4, 4)}
    expected = 0
    for gate in GATES:
        channels, height, width = maps[gate[len("block")]]
        # a product an element, two 3x3 convolutions of two maps a clip, T x T for each channel
        expected += STEPS * channels * height * width + 2 * 18 * height * width + channels * STEPS**2
    assert networks["float"]["budget"]["attention_macs_per_clip"] == expected
    assert networks["vanilla"]["budget"]["attention_macs_per_clip"] == 0
    counted = {layer["name"]: layer for layer in networks["folded"]["counts"]["layers"]}
    assert {"block1b.main.conv1", "block2a.shortcut.conv", "fc"} <= set(counted)
    # a convolution behind a sum gets every spike of both branches
    spikes = _spikes(run, "folded")
    for name, sources in {
        "block1b.main.conv1": ("block1a.main.sn2", "pool1"),
        "fc": ("block2b.main.sn2", "block2a.main.sn2", "block2a.shortcut.sn"),
    }.items():
        assert counted[name]["input_events"] == sum(spikes[source] for source in sources) > 50


def test_the_analysis_looks_inside_the_blocks(run: Path) -> None:
    values = _json(run / "8_analyse" / "analysis.json")
    neurons = [name for name in LAYERS if name != "pool1"]
    for network, variant in (("asa1", "float"), ("vanilla", "vanilla")):
        found = values["networks"][network]
        assert list(found["layers"]) == neurons
        spikes = _spikes(run, variant)
        assert {name: layer["spikes"] for name, layer in found["layers"].items()} == {
            name: spikes[name] for name in neurons
        }
        trace = load_trace(run / "5_simulate" / f"trace.{variant}.npz").layers
        size = TEST * sum(trace[name].raster.size for name in neurons)
        assert found["nasfr"] == pytest.approx(sum(spikes[name] for name in neurons) / size, rel=1e-12)
        assert found["spikes"] > 1000
        assert all(layer["qe"] > 0 for layer in found["layers"].values())
    page = (run / "8_analyse" / "analysis.html").read_text(encoding="utf-8")
    # rates, ten layers of features, kinds, twice the potentials of six layers or five, by kind, and over time
    assert page.count("<svg role=") == 1 + 10 + 1 + 2 * 3


def test_nothing_pretends_to_have_been_compared_on_a_chip(run: Path, report: dict[str, Any]) -> None:
    assert report["parity"] == report["chips"] == report["adapted"] == {}
    assert [item["what"] for item in report["not_run"]] == ["chips"]
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "chips.names is empty" in page
    assert f"by the vote of {EACH} clips" in page


def test_a_chip_that_it_can_never_reach_is_refused_before_the_training(
    program: Any, data: str, tmp_path: Path
) -> None:
    done = program(*_arguments(data, tmp_path / "run"))
    assert done.returncode == 3, done.stderr
    assert "a residual network (model.family = 'sew') cannot go to speck2f and loihi2" in done.stderr
    assert "speck2f: pool1: A core sends its spikes to at most two others" in done.stderr
    assert "loihi2: fc: Each layer reads the one before it" in done.stderr
    assert "chips.names=[]" in done.stderr
    assert not (tmp_path / "run").exists()
