# SPDX-License-Identifier: Apache-2.0
"""The jobs of the night, one round each: they run, they compare something, and they see a fault."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikefold.errors import SpikefoldError
from spikefold.hardware.simulators import clocked
from spikefold.hardware.simulators.trace import LayerTrace, Trace
from tests.nightly import __main__ as nightly
from tests.nightly import crafted as crafted_files
from tests.nightly import jobs
from tests.nightly.crafted import CRAFTED, crafted, outcome
from tests.nightly.kinds import KINDS
from tests.train.data.test_orientation import FILES


@pytest.mark.parametrize("name", ["clocked", "events", "integers"])
def test_a_round_compares_spikes(name: str) -> None:
    done = jobs.JOBS[name].run(7)
    assert done["done"] >= 7
    assert name == "integers" or (done["spikes"] > 100 and done["compared"] > 1000)


def test_one_damaged_file_of_every_format() -> None:
    done = jobs.byte_flips(3)
    assert done["done"] == 4 * len(FILES) == done["read"] + done["refused"]
    assert done["refused"] > 20


def test_files_made_to_do_harm_a_few_of_every_format(tmp_path: Path) -> None:
    outcomes = Counter[str]()
    for name, kind in KINDS.items():
        folder = tmp_path / name
        folder.mkdir()
        whole = kind.whole(folder)
        for number in (CRAFTED - 1,) if kind.apart else (0, 3, 8, 15, 20, 25, 30, 35):
            outcomes[outcome(kind, crafted(whole, number, is_text=kind.is_text), folder)] += 1
        (folder / kind.name).write_bytes(whole)
        kind.read(folder / kind.name)
    assert outcomes["refused"] > 5 * len(KINDS)
    assert outcomes["read"] > 20, "an edit may be none"
    assert len({crafted(b"width 34\n" * 9, number, is_text=True) for number in range(CRAFTED)}) > CRAFTED * 3 // 4


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda path: np.zeros(2**30, np.uint8), "MemoryError"),
        (lambda path: dict[str, int]()["nothing"], "KeyError"),
        (lambda path: _raised(SpikefoldError("a bug")), "E-INTERNAL"),
        (lambda path: _busy(), " s"),
    ],
)
def test_a_reader_that_takes_too_much_or_breaks_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Any, told: str
) -> None:
    monkeypatch.setattr(crafted_files, "MOST_S", 0.2)
    with pytest.raises(AssertionError, match=told):
        outcome(crafted_files.Kind("a.bin", lambda folder: b"", harm), b"x", tmp_path)


def _raised(error: Exception) -> None:
    raise error


def _busy() -> None:
    ends = time.process_time() + 0.4
    while time.process_time() < ends:
        pass


def test_a_spike_too_many_is_found_with_its_seed_and_the_night_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = clocked.run

    def wrong(*given: Any, **options: Any) -> Trace:
        trace = run(*given, **options)
        name, layer = next(iter(trace.layers.items()))
        raster = layer.raster.copy()
        raster.flat[0] ^= 1
        return Trace(trace.runner, {**trace.layers, name: LayerTrace(raster, layer.v_range, 0, layer.potentials)})

    monkeypatch.setattr(clocked, "run", wrong)
    monkeypatch.setitem(jobs.JOBS, "clocked", replace(jobs.JOBS["clocked"], wanted=50))
    night = nightly.Night(tmp_path / "night.json", 5)
    assert nightly.round_of(night, "clocked")
    (failure,) = night.job("clocked")["failures"]
    assert failure["seed"] == 5 * 1_000_003
    assert "AssertionError" in failure["error"]
    assert not night.passed()


def test_a_night_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []

    def counted(seed: int) -> Counter[str]:
        seeds.append(seed)
        return Counter(done=20)

    monkeypatch.setitem(jobs.JOBS, "flips", jobs.Planned(counted, 50, "files"))
    for _ in range(5):
        night = nightly.Night(tmp_path / "night.json", 2)
        nightly.round_of(night, "flips")
        night.keep()
    assert np.diff(seeds).tolist() == [1, 1]
    assert json.loads((tmp_path / "night.json").read_text())["summary"]["done"] == {"flips": "60 of 50 files"}
    assert nightly.Night(tmp_path / "night.json", 3).state["jobs"] == {}
