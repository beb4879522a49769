# SPDX-License-Identifier: Apache-2.0
"""A planted fault in some weights is left as the layer, the steps and the events that show it; it still differs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spikefold.errors import MismatchError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.simulators import clocked
from spikefold.hardware.simulators.parity import Runner
from spikefold.hardware.simulators.reduction import Case, RunnerOf, reduced
from spikefold.hardware.simulators.trace import Trace


def _network() -> Network:
    rng = np.random.default_rng(3)
    neuron = Neuron(np.array(20))
    layers = (
        Layer("c1", Conv2d(rng.integers(-9, 20, (3, 2, 3, 3)))),
        Layer("n1", neuron),
        Layer("c2", Conv2d(rng.integers(-9, 11, (4, 3, 3, 3)))),
        Layer("n2", neuron),
        Layer("fc", Dense(rng.integers(-9, 12, (5, 4 * 4 * 4)))),
        Layer("out", neuron),
    )
    return Network(InputSpec((2, 8, 8), 1000, 9, 2), layers, 5)


def _wrong(layer: str) -> RunnerOf:
    """A runner one of whose layers has weights that are off by 15."""

    def runner_of(real: Network, integer: Network) -> Runner:
        layers = []
        for one in integer:
            if one.name == layer and isinstance(one.op, Conv2d | Dense):
                weight = one.op.weight.copy()
                weight.flat[::5] += 15
                one = replace(one, op=replace(one.op, weight=weight))
            layers.append(one)
        planted = replace(integer, layers=tuple(layers))
        return lambda frames, *, potentials=False: clocked.run(planted, frames, potentials=potentials)

    return runner_of


FRAMES = np.random.default_rng(4).integers(0, 3, (9, 4, 2, 8, 8)).astype(np.uint16)


@pytest.mark.parametrize("layer", ["c1", "c2", "fc"])
def test_what_is_left_is_small_and_still_differs(layer: str) -> None:
    network = _network()
    found = reduced(Case(network, network, FRAMES), _wrong(layer))
    assert found.before["events"] > 500
    assert found.before["layers"] == 6
    assert found.case.integer.layers[0].name == layer, "it begins with the layer that differs"
    assert len(found.case.integer.layers) == 2
    assert 1 <= found.case.sizes["events"] <= 12
    assert found.found.mismatches >= 1
    assert found.found.first is not None
    assert found.found.first.state_after[0] is not None
    assert found.case.integer.input.steps == len(found.case.frames) <= 9
    assert f"layers 6 -> {found.case.sizes['layers']}" in found.describe()
    again = _wrong(layer)(found.case.real, found.case.integer)(found.case.frames)
    ours = clocked.run(found.case.integer, found.case.frames)
    assert any(not np.array_equal(one.raster, again.layers[name].raster) for name, one in ours.layers.items())


def test_the_number_of_runs_is_bounded() -> None:
    network = _network()
    found = reduced(Case(network, network, FRAMES), _wrong("fc"), most=12)
    assert found.runs <= 12
    assert found.found.mismatches >= 1


def test_equal_runners_have_nothing_to_reduce() -> None:
    network = _network()
    with pytest.raises(MismatchError, match="do not differ"):
        reduced(
            Case(network, network, FRAMES), lambda real, integer: lambda frames, **_: clocked.run(integer, frames)
        )


def test_a_runner_that_mixes_the_clips_of_a_batch_is_named() -> None:
    network = _network()

    def runner_of(real: Network, integer: Network) -> Runner:
        def run(frames: np.ndarray, *, potentials: bool = False) -> Trace:
            mixed = frames if frames.shape[1] == 1 else np.roll(frames, 1, axis=1)
            return clocked.run(integer, mixed, potentials=potentials)

        return run

    with pytest.raises(MismatchError, match="alone does not differ"):
        reduced(Case(network, network, FRAMES), runner_of)
