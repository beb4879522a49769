# SPDX-License-Identifier: Apache-2.0
"""Every topology that is exported is one that sinabs accepts, with the same contents of all cores and every spike."""

from __future__ import annotations

import numpy as np
import pytest

from spikefold.export.network import INPUT, InputSpec, Layer, Network, Op
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d, SumPool2d
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.rewrites import rewritten
from spikefold.hardware.simulators import reference
from spikefold.hardware.simulators.compare import compare
from spikefold.hardware.simulators.flips import flips
from spikefold.hardware.speck.chip import SPECK2F
from spikefold.hardware.speck.limits import NUMBERS, violations
from spikefold.hardware.speck.lowering import sinabs_runner
from spikefold.hardware.speck.lowering.sinabs import convert
from spikefold.hardware.speck.lowering.sinabs_check import differences
from tests.came_in import Record, came_in

POOL = SumPool2d((2, 2))
Row = tuple[str, Op, tuple[str, ...]]


def _block(name: str, *reads: str, stride: int = 1) -> list[Row]:
    """A convolution and its neurons ``n<name>``."""
    weight = np.abs(np.random.default_rng(len(name) + ord(name[0])).normal(0.7, 0.3, (2, 2, 1, 1)))
    return [(name, Conv2d(weight, stride=(stride, stride)), reads), (f"n{name}", Neuron(np.array(1.0)), (name,))]


def _branches(first: int, second: int) -> list[Row]:
    """Two branches of so many layers behind one layer, which meet in another."""
    rows, ends = _block("a", INPUT), []
    for which, length in (("l", first), ("r", second)):
        end = "na"
        for number in range(length):
            rows += _block(f"{which}{number}", end)
            end = f"n{which}{number}"
        ends.append(end)
    return rows + _block("g", *ends)


A = _block("a", INPUT)
B = _block("b", "na")
TOPOLOGIES = {
    "a chain": [*A, *B],
    "a residual block": [*A, *B, *_block("d", "na", "nb")],
    **{f"branches of {i} and {j}": _branches(i, j) for i, j in ((1, 1), (2, 1), (2, 2), (3, 1), (3, 2))},
    "two read the input": [*A, *_block("b", INPUT), *_block("g", "na", "nb")],
    "two branches from the input": [*A, *_block("b", INPUT), *_block("c", "nb"), *_block("g", "na", "nc")],
    "two merges": [*A, *B, *_block("d", "na", "nb"), *_block("e", "nd"), *_block("f", "nd", "ne")],
    "a merge in a merge": [*A, *B, *_block("d", "nb"), *_block("e", "nb", "nd"), *_block("g", "na", "ne")],
    "both branches pooled": [
        *A, ("p", POOL, ("na",)), *_block("b", "p"), *_block("d", "p"), *_block("g", "nb", "nd")
    ],
    "one branch pooled": [
        *A, ("p", POOL, ("na",)), *_block("b", "p"), *_block("d", "na", stride=2), *_block("g", "nb", "nd")
    ],
    "a pool of a sum": [*A, *B, ("p", POOL, ("na", "nb")), *_block("g", "p")],
    "a sum of pools": [*A, *B, ("p", POOL, ("na",)), ("q", POOL, ("nb",)), *_block("g", "p", "q")],
    "a pool in a shared pool": [
        *A, ("p", POOL, ("na",)), ("q", POOL, ("p",)), *_block("b", "p"), *_block("d", "q"),
        *_block("e", "nb", stride=2), *_block("g", "ne", "nd"),
    ],
    "a pool on the input": [("i", POOL, (INPUT,)), *_block("a", "i"), *B],
    "a pool on the input for two": [
        ("i", POOL, (INPUT,)), *_block("a", "i"), *_block("b", "i"), *_block("g", "na", "nb")
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_sinabs_accepts_it_with_the_same_cores(name: str, record_property: Record) -> None:
    layers = tuple(Layer(*row) for row in TOPOLOGIES[name])
    network = Network(InputSpec((2, 8, 8), 1000, 4, 2), layers, 1)
    frames = (np.random.default_rng(3).random((4, 3, 2, 8, 8)) < 0.3).astype(np.uint16)
    made = rewritten(network, SPECK2F)
    assert not made.issues
    if made.network is not network:
        proof = flips(network, made.network, frames)
        assert proof.spikes > 50
        assert not proof.roots
    integer, _ = quantise(made.network, NUMBERS)
    assert violations(integer) == []
    model = convert(made.network)
    assert differences(model, integer) == []
    assert set(model.layer2core) == {layer.name for layer in integer.neurons}
    ours = reference.run(integer, frames)
    found = compare(ours, sinabs_runner.run(model, frames))
    assert (found.mismatches, found.layers) == (0, len(integer.neurons))
    assert found.spikes > 300
    came_in(record_property, [layer.spikes for layer in ours.layers.values()])
