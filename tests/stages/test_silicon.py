# SPDX-License-Identifier: Apache-2.0
"""Predictions against silicon as the command shows them: PilotNet from lava-dl's wheel, each figure pinned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spikefold.energy.counts.count import count
from spikefold.energy.silicon.verdict import Row
from spikefold.errors import EnvironmentLacksError
from spikefold.hardware.loihi.core_work import core_work
from spikefold.hardware.loihi.lava.provision import carried_network
from spikefold.hardware.loihi.pilotnet import PilotNet, pilotnet
from spikefold.hardware.loihi.tiles import TileSize
from spikefold.stages import silicon as stage
from spikefold.stages.silicon import Silicon, at_hand, silicon


@pytest.fixture(scope="module")
def file() -> Path:
    """PilotNet's file, of the lava folder that the program provisions."""
    try:
        return carried_network("pilotnet_lif.net")
    except EnvironmentLacksError as error:
        pytest.skip(f"PilotNet's file could not be had: {error.what}")


@pytest.fixture(scope="module")
def run(file: Path) -> PilotNet:
    return pilotnet(file)


@pytest.fixture(scope="module")
def found(run: PilotNet, file: Path) -> Silicon:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "pilotnet", lambda path: run)
        return silicon(file)


def _rows(found: Silicon, prefix: str) -> dict[str, Row]:
    return {row.point.key.removeprefix(prefix): row for row in found.rows if row.point.key.startswith(prefix)}


@pytest.mark.lava
def test_pilotnets_counts_are_those_of_the_facts(run: PilotNet) -> None:
    assert {name: trace.spikes / 16 for name, trace in run.trace.layers.items() if trace.spikes} == {
        "conv1.spikes": 26_928.0, "conv2.spikes": 6247.5, "conv3.spikes": 840.0, "conv4.spikes": 433.125,
        "conv5.spikes": 146.25, "dense7.spikes": 7.75, "dense8.spikes": 3.4375, "dense9.spikes": 1.125,
    }  # fmt: skip
    counts = count(run.network, run.frames, run.trace)
    assert [round(layer.events / 16) for layer in counts.layers] == [
        0, 0, 2_024_190, 616_896, 211_200, 104_880, 14_625, 388, 34, 1
    ]  # fmt: skip
    assert [round((layer.weighted or 0) / 16) for layer in counts.layers] == [
        0, 0, 1_604_872, 452_130, 144_599, 63_890, 3889, 299, 30, 1
    ]  # fmt: skip


@pytest.mark.lava
def test_pilotnets_cores_do_what_the_counters_of_the_chip_show(found: Silicon) -> None:
    rows = _rows(found, "pilotnet-lif/")
    predicted = {key: row.prediction.low for key, row in rows.items() if row.prediction is not None}
    assert predicted["cores"] == 74
    assert {key: predicted[f"operations-{key}"] for key in (
        "conv2-full", "conv3-full", "conv4-full", "conv5-full", "conv2-last", "conv4-last", "conv5-last"
    )} == {
        "conv2-full": 1_310_100_000, "conv3-full": 1_507_100_000, "conv4-full": 525_815_000,
        "conv5-full": 511_120_000, "conv2-last": 437_025_000, "conv4-last": 460_020_625, "conv5-last": 159_843_750,
    }  # fmt: skip
    assert [predicted[f"updates-{key}"] for key in ("input", "conv1", "conv2")] == [
        63_360_000,
        72_320_000,
        48_300_000,
    ]
    ratios = {key: row.ratio for key, row in rows.items()}
    for key in ("conv2-full", "conv3-full", "conv4-full", "conv5-full"):
        assert 0.99 <= ratios[f"operations-{key}"][0] <= 1.01
    for key in ("conv2-last", "conv4-last", "conv5-last"):
        assert 0.97 <= ratios[f"operations-{key}"][0] <= 1.03


@pytest.mark.lava
def test_pilotnets_steps_and_energy(found: Silicon) -> None:
    rows = _rows(found, "pilotnet-lif/")
    steps = [rows[f"step-{number}"].prediction.low for number in (1, 2, 3, 4)]
    assert steps == pytest.approx([number * 1.02e-3 for number in (195_104, 106_176, 177_184, 124_376)])
    assert 151 <= rows["step-mean"].prediction.low <= 156
    assert rows["step-interval"].verdict == "inside the interval"
    assert rows["dynamic-energy"].verdict == "inside the interval"
    assert rows["dynamic-energy-loihi1-presilicon"].prediction.low == pytest.approx(63.11, abs=0.01)
    assert {row.verdict for row in rows.values()} == {"agrees", "inside the interval", "NOT PREDICTABLE"}


@pytest.mark.lava
def test_the_balanced_pilotnet_is_as_fast_as_proposed_when_it_is_really_cut(found: Silicon, run: PilotNet) -> None:
    assert found.balance is not None
    assert (found.balance.layer, found.balance.cores, found.balance.then) == ("conv3", (3, 4), "conv2")
    assert found.balance.slowest_us == pytest.approx((195_104 * 1.02e-3, 153_600 * 1.02e-3))
    conv3 = core_work(run.network, run.frames, run.trace, {"conv3": TileSize(48, 7, 6)})["conv3"]
    assert conv3.cores == 4
    assert conv3.operations.max() == 146_328 < run.work["conv2"].operations.max() == 153_600
    np.testing.assert_array_equal(conv3.operations.sum(axis=2), run.work["conv3"].operations.sum(axis=2))


def test_yolo_kps_cores_layer_by_layer() -> None:
    found = dict(stage._yolo_kp())
    assert found["yolo-kp/cores"].low == 574
    assert [one.low for key, one in found.items() if key != "yolo-kp/cores"] == [
        224, 112, 56, 28, 56, 16, 32, 32, 14, 4
    ]  # fmt: skip


def test_without_pilotnets_file_its_points_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(name: str) -> Path:
        raise EnvironmentLacksError("lava could not be downloaded")

    monkeypatch.setattr(stage, "carried_network", offline)
    found = silicon()
    missing = [row for row in found.rows if row.verdict == "NOT PREDICTED"]
    assert len(missing) > 25
    assert all(row.point.key.startswith("pilotnet-lif/") for row in missing)
    assert all("could not be downloaded" in row.why for row in missing)
    assert found.balance is None
    assert sum(row.prediction is not None for row in found.rows) >= 25
    written = found.to_json()
    assert len(written["points"]) == len(found.rows) >= 70
    assert sum(written["verdicts"].values()) == len(found.rows)


def test_a_page_predicts_pilotnet_where_its_file_lies_here(
    file: Path, run: PilotNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "pilotnet", lambda path: run)
    monkeypatch.setattr(stage, "kept_network", lambda name: file)
    verdicts = [row.verdict for row in at_hand() if row.point.key.startswith("pilotnet-lif/")]
    assert len(verdicts) > 25
    assert "NOT PREDICTED" not in verdicts


def test_a_page_points_to_the_command_where_pilotnets_file_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "kept_network", lambda name: None)
    monkeypatch.setattr(stage, "carried_network", lambda name: pytest.fail("a report downloads nothing"))
    rows = [row for row in at_hand() if row.verdict == "NOT PREDICTED"]
    assert len(rows) > 25
    assert all("`spikefold energy silicon`" in row.why for row in rows)
