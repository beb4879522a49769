# SPDX-License-Identifier: Apache-2.0
"""``spikefold diff``: two runs of files alone; pairs only of equal clips, energy only of equal prices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikefold.config import Config, parse_config, to_toml
from spikefold.energy.budget import budget, load_profile
from spikefold.energy.counts.count import Counts, count
from spikefold.energy.outputs import energy_json
from spikefold.energy.statistics.clips import FILE, NetworkClips, RunClips, identity, network_clips, save_clips
from spikefold.errors import DataError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.simulators.trace import LayerTrace, Trace
from spikefold.stages.verbs.compare_runs import diff_runs

PROFILE = load_profile("horowitz45-fp32")
RNG = np.random.default_rng(0)
FRAMES = RNG.poisson(RNG.uniform(0.1, 1.5, (1, 24, 1, 1, 1)), (4, 24, 2, 6, 6)).astype(np.uint16)
LABELS = RNG.integers(0, 5, 24)
NETWORK = Network(
    InputSpec((2, 6, 6), 1000, 4),
    (
        Layer("conv", Conv2d(np.ones((3, 2, 3, 3)), None, (1, 1), (1, 1))),
        Layer("sn", Neuron(np.array(1.0))),
        Layer("fc", Dense(np.ones((5, 108)))),
        Layer("out", Neuron(np.array(1.0))),
    ),
    5,
)


def _counts(share: float, frames: np.ndarray = FRAMES) -> Counts:
    """Spikes drawn once and thinned: clip by clip fewer where the share is lower."""
    rng, layers = np.random.default_rng(7), {}
    for layer in NETWORK.neurons:
        drawn = rng.random((*FRAMES.shape[:2], *NETWORK.shapes[layer.name]))[:, : frames.shape[1]]
        layers[layer.name] = LayerTrace((drawn < share).astype(np.uint16))
    return count(NETWORK, frames, Trace("drawn", layers))


def _run(
    folder: Path,
    shares: dict[str, float],
    frames: np.ndarray = FRAMES,
    labels: np.ndarray = LABELS,
    config: Config | None = None,
    profile: dict[str, Any] | None = None,
    rule: str = "chip",
    priced: bool = True,
) -> Path:
    """The files of a finished run that are read here, as the stages write them."""
    clips: dict[str, NetworkClips] = {}
    networks = {}
    for name, share in shares.items():
        counts = _counts(share, frames)
        right = np.arange(len(labels)) % 6 != round(10 * share) % 6
        price = (lambda one: budget(one, PROFILE).energy_pj_per_clip) if priced else None
        clips[name] = network_clips(counts, right, price)
        networks[name] = {
            "counts": counts.to_json(),
            "budget": budget(counts, PROFILE).to_json() | {"rule_name": rule},
        }
    for stage in ("5_simulate", "7_energy"):
        (folder / stage).mkdir(parents=True)
    (folder / "config.toml").write_text(to_toml(config or Config()), encoding="utf-8")
    (folder / "5_simulate" / "simulate.json").write_text("{}", encoding="utf-8")
    results = {"profile": profile or PROFILE.model_dump(mode="json"), "networks": networks}
    (folder / "7_energy" / "energy.json").write_text(energy_json(results), encoding="utf-8")
    save_clips(RunClips(identity(frames), identity(labels), clips), folder / "7_energy" / FILE)
    return folder


def test_equal_clips_are_paired_and_every_difference_is_b_minus_a(tmp_path: Path) -> None:
    a = _run(tmp_path / "a", {"float": 0.4, "speck2f": 0.4, "vanilla": 0.5})
    b = _run(tmp_path / "b", {"speck2f": 0.3, "float": 0.3, "static": 0.3})
    found = diff_runs(a, b)
    json.dumps(found, allow_nan=False)
    assert found["paired"] is True
    assert list(found["networks"]) == ["float", "speck2f"]
    assert (found["only_in_a"], found["only_in_b"]) == (["vanilla"], ["static"])
    assert (found["a"], found["b"]["run"]) == ({"run": "a", "clips": 24, "profile": "horowitz45-fp32"}, "b")
    network = found["networks"]["speck2f"]
    first, second = _counts(0.4), _counts(0.3)
    for name, field in (("synops", "events"), ("spikes", "spikes")):
        expected = (second.total(field) - first.total(field)) / 24
        assert network[name]["difference"] == pytest.approx(expected, rel=1e-12)
        assert network[name]["interval"][0] <= expected <= network[name]["interval"][1] < 0
        assert network[name]["paired"] is True
        layers = [layer[name]["difference"] for layer in network["layers"].values()]
        assert sum(layers) == pytest.approx(expected, rel=1e-12)
    assert network["spikes"]["lower"] == 24
    prices = [budget(counts, PROFILE).energy_pj_per_clip for counts in (first, second)]
    assert network["energy_pj"]["difference"] == pytest.approx(prices[1] - prices[0], rel=1e-9)
    assert network["energy_why"] == ""
    # A is wrong in clips 4, 10, ...; B in 3, 9, ...
    assert (network["accuracy"]["gained"], network["accuracy"]["lost"]) == (4, 4)
    back = diff_runs(b, a)["networks"]["speck2f"]
    assert back["synops"]["difference"] == pytest.approx(-network["synops"]["difference"], rel=1e-12)


def test_pairs_see_what_two_samples_do_not(tmp_path: Path) -> None:
    a = _run(tmp_path / "a", {"float": 0.40})
    b = _run(tmp_path / "b", {"float": 0.38})
    c = _run(tmp_path / "c", {"float": 0.38}, frames=FRAMES + (np.arange(24) == 0)[:, None, None, None].astype("u2"))
    paired, apart = diff_runs(a, b), diff_runs(a, c)
    assert (paired["paired"], apart["paired"]) == (True, False)
    assert "other frames" in apart["why"]
    low, high = paired["networks"]["float"]["synops"]["interval"]
    assert high < 0
    low_apart, high_apart = apart["networks"]["float"]["synops"]["interval"]
    assert low_apart < 0 < high_apart
    assert high_apart - low_apart > 5 * (high - low)
    assert apart["networks"]["float"]["accuracy"]["gained"] is None


def test_other_labels_or_numbers_of_clips_are_two_samples(tmp_path: Path) -> None:
    a = _run(tmp_path / "a", {"float": 0.4})
    fewer = _run(tmp_path / "fewer", {"float": 0.4}, FRAMES[:, :20], LABELS[:20])
    other = _run(tmp_path / "other", {"float": 0.4}, labels=(LABELS + 1) % 5)
    for run, clips in ((fewer, 20), (other, 24)):
        found = diff_runs(a, run)
        assert found["paired"] is False
        assert "not the same test clips" in found["why"]
        assert found["networks"]["float"]["synops"]["clips"] == [24, clips]
        assert found["networks"]["float"]["synops"]["lower"] is None


def test_a_run_does_not_differ_from_itself(tmp_path: Path) -> None:
    a = _run(tmp_path / "a", {"float": 0.4})
    found = diff_runs(a, a)
    network = found["networks"]["float"]
    assert found["config"] == {}
    for name in ("synops", "spikes", "energy_pj"):
        assert (network[name]["difference"], network[name]["interval"]) == (0, [0, 0])
        assert network[name]["means"][0] > 10
    assert (network["accuracy"]["gained"], network["accuracy"]["lost"]) == (0, 0)


def test_energy_is_compared_under_equal_constants_and_rules_only(tmp_path: Path) -> None:
    a = _run(tmp_path / "a", {"float": 0.4})
    dearer = _run(tmp_path / "dearer", {"float": 0.4}, profile={"name": "loihi1"})
    counted = _run(tmp_path / "counted", {"float": 0.4}, rule="paper")
    unknown = _run(tmp_path / "unknown", {"float": 0.4}, priced=False)
    for run, why in (
        (dearer, "other constants: horowitz45-fp32 and loihi1"),
        (counted, "other counting rules: chip and paper"),
        (unknown, "a constant of the profile is unknown"),
    ):
        network = diff_runs(a, run)["networks"]["float"]
        assert (network["energy_pj"], network["energy_why"]) == (None, why)
        assert network["synops"]["difference"] == 0


def test_what_the_configurations_differ_in_is_listed(tmp_path: Path) -> None:
    other = parse_config({"seed": 3, "model": {"attention": "none", "channels": [8, 8, 8]}})
    found = diff_runs(_run(tmp_path / "a", {"float": 0.4}), _run(tmp_path / "b", {"float": 0.4}, config=other))
    assert found["config"] == {
        "model.attention": ["asa1", "none"],
        "model.channels": [[16, 32, 32], [8, 8, 8]],
        "seed": [0, 3],
    }


def test_incomplete_runs_are_refused_with_every_missing_file_of_both(tmp_path: Path) -> None:
    a, b = (_run(tmp_path / name, {"float": 0.4}) for name in "ab")
    (a / "7_energy" / FILE).unlink()
    (b / "7_energy" / "energy.json").unlink()
    (b / "5_simulate" / "simulate.json").unlink()
    with pytest.raises(DataError, match="only finished runs") as told:
        diff_runs(a, b)
    assert [(issue.where, issue.got) for issue in told.value.issues] == [
        (str(a), f"no 7_energy/{FILE}"),
        (str(b), "no 5_simulate/simulate.json"),
        (str(b), "no 7_energy/energy.json"),
    ]
    assert f"spikefold energy {a}" in told.value.issues[0].hint
    with pytest.raises(DataError) as told:
        diff_runs(tmp_path / "nothing", tmp_path)
    assert [issue.got for issue in told.value.issues] == ["no config.toml"] * 2


def test_runs_without_a_network_in_common_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no network of the same name") as told:
        diff_runs(_run(tmp_path / "a", {"float": 0.4}), _run(tmp_path / "b", {"speck2f": 0.4}))
    assert "speck2f" in told.value.hint


def test_a_damaged_file_is_bad_data(tmp_path: Path) -> None:
    a, b = (_run(tmp_path / name, {"float": 0.4}) for name in "ab")
    (b / "7_energy" / FILE).write_bytes(b"PK")
    with pytest.raises(DataError, match="clips of the run"):
        diff_runs(a, b)
