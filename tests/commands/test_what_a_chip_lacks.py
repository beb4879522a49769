# SPDX-License-Identifier: Apache-2.0
"""What a chip can do is done: pools, groups and dilation by ``export`` itself, neurons by ``--adapt``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from typer.testing import CliRunner

from spikefold.pipeline import app
from spikefold.stages.report.verdicts import QUESTIONS
from spikefold.train.data.events import Recording, pack_events, save_packed

MODULE = """
import sinabs.layers as sl
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn
from spikefold.export.network import InputSpec

SPEC = InputSpec((2, 16, 16), 10_000, 5)

def pooled():
    torch.manual_seed(0)
    def fires():
        return neuron.IFNode(v_threshold=0.15)
    parts = [layer.Conv2d(2, 4, 3, padding=1, bias=False), fires(), sl.SumPool2d(2)]
    parts += [layer.Conv2d(4, 4, 3, groups=2, padding=1, bias=False), fires(), nn.AvgPool2d(2)]
    parts += [layer.Conv2d(4, 6, 2, dilation=2, padding=1, bias=False), fires(), layer.MaxPool2d(2)]
    return nn.Sequential(*parts, layer.Flatten(), layer.Linear(24, 4, bias=False), fires()), SPEC

def leaky(reset=None):
    torch.manual_seed(0)
    fires = [neuron.LIFNode(tau=2.0, v_threshold=theta, v_reset=reset, decay_input=False) for theta in (0.1, 0.02)]
    first = layer.Conv2d(2, 4, 3, stride=2, bias=True), fires[0], layer.MaxPool2d(2)
    return nn.Sequential(*first, layer.Flatten(), layer.Linear(36, 4, bias=False), fires[1]), SPEC
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    rng = np.random.default_rng(0)
    (tmp_path / "lacking.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "data").mkdir()
    for split, clips in (("train", 20), ("test", 4)):
        made = []
        for index in range(clips):
            t = np.sort(rng.integers(0, 50_000, 1500))
            y, x, p = (rng.integers(0, limit, 1500) for limit in (16, 16, 2))
            made.append(Recording(pack_events(t, x, y, p), (16, 16), index % 4, f"r{index}"))
        save_packed(tmp_path / "data" / f"{split}.npz", made)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("lacking", None)


def _run(*arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments])


def _equal(content: dict[str, Any], chip: str, least: int) -> None:
    parity = content["parity"][chip]
    assert parity["mismatches"] == 0
    assert parity["spikes"] > least
    assert len(parity["runners"]) == 3


@pytest.mark.lava
def test_pools_groups_and_dilation_go_to_both_chips_by_export_alone(place: Path) -> None:
    done = _run("export", "--from", "torch:lacking:pooled", "--data", "npz:data", "--out", "chips")
    assert done.exit_code == 0, done.output
    content = json.loads((place / "chips" / "export.json").read_text(encoding="utf-8"))
    for chip in ("speck2f", "loihi2"):
        _equal(content, chip, 1000)
    passes = {chip: {entry["pass"]: entry for entry in told["passes"]} for chip, told in content["chips"].items()}
    passes["all"] = {entry["pass"]: entry for entry in content["passes"]}
    assert {chip: set(found) for chip, found in passes.items()} == {
        "all": {"fold_spike_pooling"},
        "speck2f": {"maxpool_to_or", "expand_kernels"},
        "loihi2": {"pool_into_weights", "maxpool_to_or"},
    }
    assert passes["speck2f"]["expand_kernels"]["changed"] == ["3", "6"]
    assert passes["all"]["fold_spike_pooling"]["changed"] == ["5", "6"]
    for found in passes.values():
        for entry in found.values():
            assert entry["flips"] == 0
            assert entry["spikes"] > 500
            assert entry["what"] in done.output


@pytest.mark.lava
def test_neurons_that_chips_lack_are_tuned_and_the_page_says_so(place: Path) -> None:
    given = ("--from", "torch:lacking:leaky", "--data", "npz:data")
    refused = _run("export", *given, "--out", "x")
    assert refused.exit_code == 3
    assert "--adapt with --data" in refused.output
    done = _run("report", *given, "--adapt", "--set", "adapt.epochs=1", "--out", "page")
    assert done.exit_code == 0, done.output
    content = json.loads((place / "page" / "export.json").read_text(encoding="utf-8"))
    for chip in ("speck2f", "loihi2"):
        _equal(content, chip, 100)
    replaced = {chip: {one["what"] for one in told["replaced"]} for chip, told in content["adapted"].items()}
    assert replaced == {"speck2f": {"leak -> none"}, "loihi2": {"reset subtract -> zero"}}
    assert [content["adapted"][chip]["how"] for chip in ("speck2f", "loihi2")] == ["by events", "in steps"]
    assert content["adapted"]["loihi2"]["selection"]["candidates"][0]["name"] == "before"
    assert list(content["accuracy"]) == [
        "real", "speck2f.before", "speck2f", "speck2f.events", "loihi2.before", "loihi2"
    ]  # fmt: skip
    assert all(found["spikes"] > 100 for name, found in content["accuracy"].items() if "events" not in name)
    page = (place / "page" / "report.html").read_text(encoding="utf-8")
    for text in ("Tuned for loihi2", "reset subtract -&gt; zero", "lava fixed-point", "maxpool_to_or", "budget"):
        assert text in page
    for question in QUESTIONS.values():
        assert question in page, "the four verdicts stand first, as on the page of a run"
    assert page.count('class="chip tone-') == 8
    assert not set(map(unquote, re.findall(r'href="#([^"]+)"', page))) - set(re.findall(r' id="([^"]+)"', page)), (
        "every link leads somewhere"
    )
    priced = json.loads((place / "page" / "energy.json").read_text(encoding="utf-8"))["networks"]
    assert all(priced[chip]["chip"]["cores"] for chip in ("speck2f", "loihi2"))


@pytest.mark.usefixtures("place")
def test_what_adapt_and_report_cannot_do_is_said() -> None:
    leaky = ("--from", "torch:lacking:leaky")
    for said, arguments in (
        ("nothing to tune it on", ("export", *leaky, "--adapt", "--out", "x")),
        ("a page shows what recordings made of it", ("report", *leaky, "--out", "x")),
        ("no folder for the page", ("report", *leaky, "--data", "npz:data")),
        ("--set train.epochs", ("export", *leaky, "--set", "train.epochs=2", "--out", "x")),
        ("go with FILE.nir or FILE.net", ("report", "runs/any", "--adapt")),
    ):
        done = _run(*arguments)
        assert done.exit_code == 2, (arguments, done.output)
        assert said in done.output
