# SPDX-License-Identifier: Apache-2.0
"""A run's own graph comes back in: thresholds for each neuron are tuned, and those a channel go as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from spikefold.export.io import load_network
from spikefold.export.nir.from_nir import read
from spikefold.export.nir.options import NirOptions
from spikefold.pipeline import app
from spikefold.session import open_session
from spikefold.stages.export import PER_CHANNEL
from spikefold.train.data.events import save_packed
from tests.silent import Silent


@pytest.fixture(scope="module")
def data(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A few recordings of the run."""
    dataset, folder = open_session(finished_run, Silent()).dataset, tmp_path_factory.mktemp("own")
    save_packed(folder / "train.npz", dataset.train[:60])
    save_packed(folder / "test.npz", dataset.test[:6])
    return f"npz:{folder}"


def _export(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["export", *arguments])


def test_the_graph_says_how_clips_are_cut_and_how_many_classes_there_are(finished_run: Path) -> None:
    folded = load_network(finished_run / "4_export" / "folded")
    again = read(finished_run / "4_export" / "model.nir")
    assert (again.input, again.classes) == (folded.input, folded.classes)
    assert again.classes == 10
    assert read(finished_run / "4_export" / "model.nir", NirOptions(steps=3, classes=5)).input.steps == 3


@pytest.mark.lava
def test_thresholds_of_each_neuron_are_tuned_for_both_chips(finished_run: Path, data: str, tmp_path: Path) -> None:
    graph = str(finished_run / "4_export" / "model.nir")
    refused = _export(graph, "--out", str(tmp_path / "x"))
    assert refused.exit_code == 3
    assert "loihi2: sn1: uniform_thresholds" in refused.output
    assert PER_CHANNEL in refused.output
    out = tmp_path / "chips"
    done = _export(graph, "--data", data, "--adapt", "--set", "adapt.epochs=1", "--out", str(out))
    assert done.exit_code == 0, done.output
    content = json.loads((out / "export.json").read_text(encoding="utf-8"))
    for chip in ("speck2f", "loihi2"):
        assert content["parity"][chip]["mismatches"] == 0
        assert content["parity"][chip]["spikes"] > 1000
        replaced = {one["layer"] for one in content["adapted"][chip]["replaced"] if "each neuron" in one["what"]}
        assert replaced == {"sn1", "sn2"}


@pytest.mark.lava
def test_the_form_per_channel_goes_as_it_is_where_the_chip_leaks(
    finished_run: Path, data: str, tmp_path: Path
) -> None:
    graph = finished_run / "4_export" / PER_CHANNEL
    done = _export(str(graph), "--chip", "loihi2", "--data", data, "--out", str(tmp_path / "chips"))
    assert done.exit_code == 0, done.output
    content = json.loads((tmp_path / "chips" / "export.json").read_text(encoding="utf-8"))
    assert content["adapted"] == {}
    assert content["parity"]["loihi2"]["mismatches"] == 0
    assert content["parity"]["loihi2"]["spikes"] > 1000
