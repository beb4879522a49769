# SPDX-License-Identifier: Apache-2.0
"""``sf.load`` and ``sf.deploy``: a module and a finished run on a chip, with verdicts, files, a page; refusals."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

import spikefold as sf
from spikefold.export.network import Network
from spikefold.hardware.simulators import reference

STEPS, CLIPS, SHAPE = 4, 6, (2, 12, 12)


def module() -> nn.Module:
    torch.manual_seed(0)
    first = layer.Conv2d(2, 4, 3, stride=2, bias=False), neuron.IFNode()
    return nn.Sequential(*first, layer.Flatten(), layer.Linear(4 * 5 * 5, 5, bias=False), neuron.IFNode())


def frames() -> np.ndarray:
    return np.random.default_rng(0).poisson(2.0, (STEPS, CLIPS, *SHAPE))


@pytest.fixture(scope="module")
def net() -> sf.Net:
    return sf.load(module(), input_shape=SHAPE, steps=STEPS)


@pytest.fixture(scope="module")
def chip(net: sf.Net) -> sf.Deployed:
    return sf.deploy(net, "speck2f", data=(torch.from_numpy(frames()), np.arange(CLIPS) % 5))


def test_every_public_name_is_there_and_importing_loads_nothing_heavy() -> None:
    assert all(getattr(sf, name) is not None for name in sf.__all__)
    assert set(sf.__all__) <= set(dir(sf))
    with pytest.raises(AttributeError, match="no attribute 'deplloy'"):
        sf.deplloy  # type: ignore[attr-defined]  # noqa: B018
    code = "import sys, spikefold\nassert not {'torch', 'numpy', 'pydantic', 'typer'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_module_is_deployed_with_every_spike_compared(chip: sf.Deployed, net: sf.Net) -> None:
    assert "10,240" not in net.summary()
    assert net.summary().splitlines()[0] == "Sequential: input 2x12x12, 4 steps of 10,000 us"
    assert [verdict.word for verdict in chip.verdicts.values()][:2] == ["fits", "yes"]
    assert chip.parity is not None
    assert chip.parity.mismatches == 0
    assert chip.parity.spikes > 200
    assert "0 mismatches" in chip.summary()
    trace = reference.run(chip.integer, frames().astype(np.uint16))
    assert trace.spikes > 200
    counts = trace.output_counts(5)
    named = chip.predict(frames())
    assert (counts[range(CLIPS), named] == counts.max(axis=1)).all()
    assert chip.energy is not None
    assert sum(row["spikes"] for row in chip.energy["counts"]["layers"]) == trace.spikes


def test_the_page_and_the_files_of_a_chip_are_written(chip: sf.Deployed, tmp_path: Path) -> None:
    page = chip.report(tmp_path / "out.html").read_text(encoding="utf-8")
    for text in ('id="verdicts"', "Is every spike right?", "core 0", "uJ a clip", 'id="glossary"'):
        assert text in page
    assert page.count('class="tile"') == 2
    assert page.count('class="tile free"') == 7
    assert not set(map(unquote, re.findall(r'href="#([^"]+)"', page))) - set(re.findall(r' id="([^"]+)"', page)), (
        "dead links"
    )
    json.dumps(chip.to_json(), allow_nan=False)
    assert "<table>" in chip._repr_html_()
    assert "config.json" in chip.write(tmp_path / "files" / "chip")
    assert (tmp_path / "files" / "chip" / "config.json").is_file()
    with pytest.raises(sf.DataError, match="something is there"):
        chip.write(tmp_path / "files" / "chip")


def test_without_recordings_nothing_is_claimed(net: sf.Net, tmp_path: Path) -> None:
    chip = sf.deploy(net, "loihi2")
    words = {key: verdict.word for key, verdict in chip.verdicts.items()}
    assert words == {"fit": "fits", "spikes": "NOT RUN", "accuracy": "NOT RUN", "energy": "NOT RUN"}
    assert "NOT RUN" in chip.report(tmp_path / "out.html").read_text(encoding="utf-8")


def test_without_labels_there_is_no_accuracy(net: sf.Net) -> None:
    chip = sf.deploy(net, "speck2f", data=frames())
    assert chip.verdicts["accuracy"].lines[0].text == "no labels were given"
    assert chip.verdicts["spikes"].word == "yes"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (frames()[0], "it has 4 axes"),
        (frames()[:3], "3 steps where 4 are needed"),
        (frames()[:, :, :1], "1 channels where 2 are needed"),
        (frames()[:, :0], "there is no clip"),
        (frames() + 0.5, "or parts of events"),
        (frames() - 9, "or parts of events"),
        ((frames(), np.arange(3)), "labels do not go with the clips"),
        ((frames(), np.full(CLIPS, 7)), "labels 7 to 7 for 5 classes"),
    ],
)
def test_wrong_shapes_are_refused_in_words(net: sf.Net, data: Any, said: str) -> None:
    with pytest.raises(sf.DataError) as raised:
        sf.deploy(net, "speck2f", data=data)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        (module(), {}, "input_shape=(2, 34, 34)"),
        (module(), {"input_shape": (2, 12)}, "input_shape is (2, 12)"),
        (module(), {"input_shape": SHAPE, "convention": "sinabs"}, "are of .nir files"),
        (3, {}, "cannot be loaded from int"),
        ("nothing.txt", {}, "neither a file of a network nor a function"),
        (Path(__file__).parent, {}, "the folder holds no run"),
    ],
)
def test_what_cannot_be_loaded_says_what_to_do(source: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(sf.ConfigError) as raised:
        sf.load(source, **options)
    assert said in str(raised.value)


def test_a_network_is_loaded_as_it_is_and_an_unknown_chip_named(net: sf.Net) -> None:
    again = sf.load(net.network)
    assert isinstance(again.network, Network)
    assert again.network is net.network
    with pytest.raises(sf.ConfigError, match="unknown chip 'speck2g'"):
        sf.deploy(again, "speck2g")
    with pytest.raises(sf.ConfigError, match="a Network says it itself"):
        sf.load(net.network, steps=3)


def test_what_does_not_fit_is_refused_with_every_rule(net: sf.Net) -> None:
    wide = nn.Sequential(
        layer.Conv2d(2, 1025, 3, bias=False), neuron.IFNode(), layer.Flatten(), layer.Linear(1025 * 100, 5)
    )
    with pytest.raises(sf.UnsupportedError) as raised:
        sf.deploy(sf.load(nn.Sequential(*wide, neuron.IFNode()), input_shape=SHAPE), "speck2f")
    assert len(raised.value.issues) > 1
