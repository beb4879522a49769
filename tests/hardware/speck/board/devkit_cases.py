# SPDX-License-Identifier: Apache-2.0
"""What the tests of the Speck board share: a small network, clips for it, and a run on a strict samna."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from spikefold.errors import (
    SpikefoldError,
)
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.ops import Conv2d, SumPool2d
from spikefold.hardware.speck.board.clips import events_of
from spikefold.hardware.speck.board.options import Clock, DeviceOptions
from spikefold.hardware.speck.board.result import DeviceRun
from spikefold.hardware.speck.board.run import run_on_device
from spikefold.hardware.speck.lowering.configuration import configuration
from tests.hardware.speck.board.samna_chip import Board, Faults, Time
from tests.hardware.speck.board.samna_strict import samna

TARGET = "speck2fdevkit:0"
DT_US = 10_000
PLACES = {"n1": 7, "n2": 5, "n3": 8}
QUICK = DeviceOptions(repeats=2, quiet_s=0.2, timeout_s=1.0)
ONCE = replace(QUICK, repeats=1, idle_s=0)


def network(bias: bool = False, reset: Reset = Reset.SUBTRACT) -> Network:
    """Three convolutions, a pool, a stride; wider than high, where addresses in sinabs' order would collide."""
    rng = np.random.default_rng(3)

    def neuron(threshold: int) -> Neuron:
        return Neuron(np.array(threshold), reset=reset, v_min=-200, max_spikes=None)

    first_bias = rng.integers(-9, 12, 3) if bias else None
    layers = (
        Layer("w1", Conv2d(rng.integers(-20, 50, (3, 2, 3, 3)), first_bias, padding=(1, 1))),
        Layer("n1", neuron(60)),
        Layer("p1", SumPool2d((2, 2))),
        Layer("w2", Conv2d(rng.integers(-20, 50, (4, 3, 2, 2)))),
        Layer("n2", neuron(70)),
        Layer("w3", Conv2d(rng.integers(-20, 50, (6, 4, 1, 1)), stride=(1, 2))),
        Layer("n3", neuron(60)),
    )
    return Network(InputSpec((2, 4, 10), DT_US, 6), layers, 2)


def clips(spec: InputSpec, count: int = 2, share: float = 0.2) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    frames = (rng.random((count, spec.steps, *spec.shape)) < share) * rng.integers(
        1, 3, (count, spec.steps, *spec.shape)
    )
    return [events_of(one, spec.dt_us) for one in frames]


def run(
    faults: Faults | None = None,
    options: DeviceOptions = QUICK,
    net: Network | None = None,
    board: Board | None = None,
    **changes: Any,
) -> tuple[DeviceRun, Board, Time]:
    """A run on a board with these faults."""
    net, board = net or network(), board or Board(Time(), faults or Faults())
    given: dict[str, Any] = {
        "target": TARGET,
        "network": net,
        "placement": PLACES,
        "clips": clips(net.input),
        "samna": samna({"Speck2fDevKit": board}),
    } | changes
    if "configuration" not in given:
        given["configuration"] = configuration(given["network"], given["placement"], "speck2fdevkit")
    done = run_on_device(**given, options=options, clock=Clock(board.time.now, board.time.sleep))
    return done, board, board.time


@cache
def perfect() -> tuple[DeviceRun, Board, Time]:
    """A run on a board without faults."""
    return run()


def refusal(kind: type[SpikefoldError], faults: Faults | None = None, **changes: Any) -> SpikefoldError:
    with pytest.raises(kind) as found:
        run(faults, **changes)
    return found.value
