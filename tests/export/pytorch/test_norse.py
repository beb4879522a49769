# SPDX-License-Identifier: Apache-2.0
"""Networks of norse come in as they are, with the synaptic current that its neurons have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import norse.torch as norse
import pytest
import torch
from torch import nn

from spikefold.errors import UnsupportedError
from spikefold.export.from_torch import from_torch
from spikefold.export.network import InputSpec
from tests.came_in import Record, came_in
from tests.export.pytorch.libraries import compared, lively

SPEC = InputSpec((2, 8, 8), 1000, 10)


def _lif(**options: Any) -> Any:
    return norse.LIFParameters(v_th=torch.as_tensor(0.0625), **options)


def _box(**options: Any) -> Any:
    return norse.LIFBoxParameters(v_th=torch.as_tensor(0.125), **options)


def _chain(make: Callable[[], nn.Module]) -> nn.Module:
    return norse.SequentialState(nn.Conv2d(2, 4, 3), make(), nn.Flatten(), nn.Linear(144, 5), make())


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "LIF": lambda: _chain(lambda: norse.LIFCell(_lif())),
    "LIF, half a millisecond": lambda: _chain(lambda: norse.LIFCell(_lif(), dt=0.0005)),
    "LIF, other time constants": lambda: _chain(
        lambda: norse.LIFCell(_lif(tau_mem_inv=torch.as_tensor(250.0), tau_syn_inv=torch.as_tensor(500.0)))
    ),
    "LIF without memory of its current": lambda: _chain(
        lambda: norse.LIFCell(_lif(tau_syn_inv=torch.as_tensor(1000.0)))
    ),
    "LIF box": lambda: _chain(lambda: norse.LIFBoxCell(_box())),
    "LIF box, short": lambda: _chain(lambda: norse.LIFBoxCell(_box(tau_mem_inv=torch.as_tensor(500.0)))),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_norse_cells_fires_the_same_spikes(name: str, record_property: Record) -> None:
    def run(module: nn.Module, x: torch.Tensor) -> None:
        state = None
        for step in x:
            _, state = module(step, state)

    _, spikes = compared(lively(NETWORKS[name]()), SPEC, run, (norse.LIFCell, norse.LIFBoxCell))
    assert len(spikes) == 2
    came_in(record_property, spikes.values())


def test_layers_that_take_all_steps_at_once_fire_the_same_spikes(record_property: Record) -> None:
    module = norse.SequentialState(
        norse.Lift(nn.Conv2d(2, 4, 3)), norse.LIF(_lif()), nn.Flatten(2), nn.Linear(144, 5), norse.LIF(_lif())
    )
    _, spikes = compared(lively(module), SPEC, lambda module, x: module(x), (norse.LIF,))
    assert len(spikes) == 2
    came_in(record_property, spikes.values())


def test_adaptive_and_refractory_neurons_are_refused_by_name() -> None:
    for odd in (norse.LIFAdExCell(), norse.LIFRefracCell()):
        with pytest.raises(UnsupportedError) as caught:
            from_torch(norse.SequentialState(nn.Flatten(), nn.Linear(128, 9), odd), SPEC)
        assert type(odd).__name__ in caught.value.issues[0].rule
    moved = norse.LIFBoxCell(_box(v_reset=torch.as_tensor(-0.5)))
    with pytest.raises(UnsupportedError, match="v_reset other than 0"):
        from_torch(norse.SequentialState(nn.Flatten(), nn.Linear(128, 9), moved), SPEC)
