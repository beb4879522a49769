# SPDX-License-Identifier: Apache-2.0
"""The section of the page: its pictures are whole, its numbers those of the file, its text escaped."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np

from spikefold.energy.report import clip_histogram, energy_bars, tornado_bars, uncertainty_section
from spikefold.energy.statistics.clips import NetworkClips
from spikefold.energy.statistics.sensitivity import Constant, tornado

TORNADO = tornado(
    {"chip": {"mac": 10, "ac": 100}, "ann": {"mac": 5000, "ac": 0}},
    "chip",
    (Constant("mac", 3.0, 4.6, 8.0, "horowitz.toml:12"), Constant("ac", 0.9, 0.9, 0.9, "horowitz.toml:20")),
)


def _clips(seed: int) -> NetworkClips:
    events = np.random.default_rng(seed).integers(0, 400, (2, 3, 40))
    return NetworkClips(("conv", "fc"), events, events // 10, np.ones(40, bool), events.sum(axis=(0, 1)) * 0.9)


def _network(clips: NetworkClips) -> dict[str, Any]:
    layers = [
        {"name": name, "mac_per_clip": 1000.0, "ac_per_clip": 5000.0, "energy_pj_per_clip": 9100.0}
        for name in clips.layers
    ]
    return {
        "counts": {"coverage": "without a rule: <Cube> in odd"},
        "budget": {
            "layers": layers,
            "attention_macs_per_clip": 10.0,
            "mac_per_clip": 2010.0,
            "ac_per_clip": 10000.0,
            "energy_pj_per_clip": 18246.0,
        },
        "uncertainty": {name: d.to_json() for name, d in clips.distributions().items()},
        "sensitivity": TORNADO.to_json(),
    }


def _parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314  our own picture


def test_pictures_are_whole_and_equal_for_equal_content() -> None:
    clips = {"float": _clips(0), "vanilla": _clips(1)}
    values = {name: one.quantities["synops"] for name, one in clips.items()}
    for draw in (
        lambda: clip_histogram(values, "synaptic events"),
        lambda: tornado_bars(TORNADO.to_json()),
        lambda: energy_bars({name: _network(one) for name, one in clips.items()}),
    ):
        picture = draw()
        assert picture == draw()
        assert len(list(_parsed(picture).iter("{http://www.w3.org/2000/svg}path"))) > 5


def test_the_tornado_names_its_bars() -> None:
    picture = tornado_bars(TORNADO.to_json())
    for name in ("rule: ann", "constant: mac", "constant: ac"):
        assert name in picture


def test_one_clip_and_equal_clips_have_a_histogram() -> None:
    for values in (np.array([5]), np.array([0, 0, 0])):
        assert _parsed(clip_histogram({"one": values}, "spikes")).tag.endswith("svg")


def test_an_unknown_energy_has_no_bar_and_no_crash() -> None:
    network = _network(_clips(0))
    network["budget"]["energy_pj_per_clip"] = None
    for layer in network["budget"]["layers"]:
        layer["energy_pj_per_clip"] = None
    assert _parsed(energy_bars({"speck2f": network})).tag.endswith("svg")


def test_the_section_shows_the_numbers_of_the_file() -> None:
    clips = {"float": _clips(0), "a<b": _clips(1)}
    results = {"networks": {name: _network(one) for name, one in clips.items()} | {"other": _network(_clips(2))}}
    page = uncertainty_section(results, clips)
    assert page.count("<svg ") == 3
    assert "what 40 of them can tell" in page
    assert "horowitz.toml:12" in page
    for name in clips:
        found = results["networks"][name]["uncertainty"]["synops"]
        assert f"{found['mean']:,.0f}" in page
        energy = results["networks"][name]["uncertainty"]["energy_pj"]
        assert f"<td>{energy['mean'] / 1e6:,.4g}</td>" in page, "energy is shown in uJ"
        assert f"({found['worst_clip']})" in page
        assert f"{found['clips_needed']['5']:,}" in page
    assert "a&lt;b" in page
    assert "&lt;Cube&gt;" in page
    assert "<Cube>" not in page
    assert "a<b" not in page
    assert "other" not in page


def test_a_network_without_spread_or_tornado_still_has_its_row() -> None:
    clips = {"float": _clips(0)}
    network = _network(clips["float"]) | {"sensitivity": None}
    del network["uncertainty"]
    page = uncertainty_section({"networks": {"float": network}}, clips)
    assert page.count("<svg ") == 1
    assert "hangs on" not in page
