# SPDX-License-Identifier: Apache-2.0
"""``validate`` by ranges of clips: equal to one comparison in every field, whatever the ranges and whoever dies."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
import pytest

from spikefold.hardware.by_name import quantise
from spikefold.hardware.simulators import clocked
from spikefold.hardware.simulators.compare import Comparison
from spikefold.hardware.simulators.parity import Parity
from spikefold.hardware.simulators.trace import LayerTrace, Trace
from spikefold.stages.chip_files import compare_runners
from spikefold.stages.spread.engine import Cluster
from spikefold.stages.spread.validation import compare_spread
from tests.stages.spread.stand_in import StandIn, WorkerCrashedError
from tests.stages.spread.test_engine import Told
from tests.train.deploy import test_integer_net as integer_net

CHIP = "speck2f"
CLIPS = 7


class Dying(StandIn):
    """The worker of the second result dies before it gives it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def get(self, reference: Any) -> Any:
        self.asked += 1
        if self.asked == 2:
            self.running -= 1
            raise WorkerCrashedError("The worker died unexpectedly.")
        return self.result(reference)

    def result(self, reference: Any) -> Any:
        self.running -= 1
        return reference()


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Dying:
    found = Dying()
    monkeypatch.setitem(sys.modules, "ray", found)
    return found


@pytest.fixture(scope="module")
def networks() -> dict[str, Any]:
    _, neuron = integer_net.CASES["speck, subtract"]
    return {CHIP: quantise(integer_net._network(neuron, pool=False, seed=1), CHIP)}


def _frames() -> np.ndarray:
    """Clips of which two have no event, so that a range may have silent layers that the whole has not."""
    frames = integer_net._frames(1)
    frames = np.concatenate([frames] * -(-CLIPS // frames.shape[1]), axis=1)[:, :CLIPS].copy()
    frames[:, 1:3] = 0
    return frames


def _fields(found: Parity) -> dict[str, Any]:
    """Everything that a parity says, traces as lists."""
    trace = found.simulated
    rasters = None if trace is None else {name: layer.raster.tolist() for name, layer in trace.layers.items()}
    ranges = None if trace is None else {n: (one.v_range, one.overflow) for n, one in trace.layers.items()}
    return found.to_json() | {"rasters": rasters, "ranges": ranges, "failures": found.failures()}


def _whole(networks: dict[str, Any], vendor_clips: int) -> tuple[dict[str, Parity], list[str]]:
    told = Told()
    return compare_runners(networks, _frames(), vendor_clips, told, allow_silent=True), told.lines


@pytest.mark.parametrize(("workers", "vendor_clips"), [(1, 7), (2, 3), (3, 7), (20, 4)])
def test_ranges_add_up_to_one_comparison(
    ray: Dying, networks: dict[str, Any], workers: int, vendor_clips: int
) -> None:
    wanted, lines = _whole(networks, vendor_clips)
    told = Told()
    found = compare_spread(networks, _frames(), vendor_clips, told, Cluster(workers))
    assert _fields(found[CHIP]) == _fields(wanted[CHIP])
    assert [comparison.clips for comparison in found[CHIP].comparisons] == [CLIPS, vendor_clips]
    assert found[CHIP].comparisons[1].spikes > 50
    assert told.lines[-2:] == lines[-2:]
    assert ray.asked == min(workers, CLIPS) + (workers > 1), "one worker died, and its range was done again"
    assert sum("died" in line for line in told.lines) == (workers > 1)


def test_the_first_mismatch_is_that_of_one_comparison(
    ray: Dying, networks: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = clocked.run

    def wrong(network: Any, frames: np.ndarray, **options: Any) -> Trace:
        """A clip with many events has one spike too many in its second layer, and one that is later in its first."""
        trace = run(network, frames, **options)
        layers = dict(trace.layers)
        for (name, layer), step in zip(trace.layers.items(), (4, 1), strict=False):
            raster = layer.raster.copy()
            for clip in np.flatnonzero(frames.sum(axis=(0, 2, 3, 4)) > 0):
                raster[step, clip, 0, 0, 0] += 1
            layers[name] = LayerTrace(raster, layer.v_range, layer.overflow, layer.potentials)
        return Trace(trace.runner, layers)

    monkeypatch.setattr(clocked, "run", wrong)
    wanted, _ = _whole(networks, 2)
    found = compare_spread(networks, _frames(), 2, Told(), Cluster(3))
    first = found[CHIP].comparisons[0].first
    assert first is not None
    assert (first.step, first.clip) == (4, 0)
    assert found[CHIP].comparisons[0].mismatches == 2 * (CLIPS - 2)
    assert _fields(found[CHIP]) == _fields(wanted[CHIP])


def test_a_field_of_a_comparison_is_the_same_in_all_ranges_or_added() -> None:
    """A new field must say how ranges of it are added."""
    same = {"runners", "steps"}
    added = {"layers", "clips", "neurons", "spikes", "mismatches", "first", "silent"}
    assert {one.name for one in dataclasses.fields(Comparison)} == same | added
