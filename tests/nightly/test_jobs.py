# SPDX-License-Identifier: Apache-2.0
"""The jobs of the night, one round each: they run, they compare something, and they see a fault."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikefold.hardware.simulators import clocked
from spikefold.hardware.simulators.trace import LayerTrace, Trace
from tests.nightly import __main__ as nightly
from tests.nightly import jobs
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
