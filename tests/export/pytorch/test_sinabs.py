# SPDX-License-Identifier: Apache-2.0
"""Networks of sinabs' layers come in as they are: spikes a step, resets, bounds, merges, branches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sinabs.layers as sl
import torch
from sinabs.activation import MaxSpike, MembraneReset, MembraneSubtract, MultiSpike, SingleSpike
from torch import nn

from spikefold.errors import UnsupportedError
from spikefold.export.from_torch import from_torch
from spikefold.export.network import InputSpec
from tests.came_in import Record, came_in
from tests.export.pytorch.libraries import compared, lively

SPEC = InputSpec((2, 8, 8), 1000, 10)


def _iaf(**options: Any) -> nn.Module:
    return sl.IAFSqueeze(batch_size=1, **options)


def _chain(make: Callable[[], nn.Module], pool: nn.Module | None = None) -> nn.Module:
    middle = [] if pool is None else [pool]
    size = 8 if pool is None else 4
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), make(), *middle, nn.Conv2d(4, 3, 3, padding=1, groups=1), make(),
        nn.Flatten(), nn.Linear(3 * size * size, 5, bias=False), make(),
    )  # fmt: skip


class _Branches(nn.Module):
    """Two layers read the input; one branch is longer; two merges."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.conv3, self.conv4 = nn.Conv2d(4, 4, 1, bias=False), nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.iaf1, self.iaf2, self.iaf3, self.iaf4, self.out = (_iaf(min_v_mem=-1.0) for _ in range(5))
        self.merge1, self.merge2 = sl.Merge(), sl.Merge()
        self.fc = nn.Linear(4 * 64, 3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, two = self.iaf1(self.conv1(x)), self.iaf2(self.conv2(x))
        merged = self.merge1(one, self.iaf3(self.conv3(two)))
        merged = self.merge2(merged, self.iaf4(self.conv4(two)))
        return self.out(self.fc(merged.flatten(1)))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "IAF": lambda: _chain(_iaf),
    "IAF with a lower bound": lambda: _chain(lambda: _iaf(min_v_mem=-1.0)),
    "one spike a step": lambda: _chain(lambda: _iaf(spike_fn=SingleSpike)),
    "two spikes a step": lambda: _chain(lambda: _iaf(spike_fn=MaxSpike(2))),
    "many spikes a step": lambda: _chain(lambda: _iaf(spike_fn=MultiSpike, reset_fn=MembraneSubtract())),
    "reset to zero": lambda: _chain(lambda: _iaf(spike_fn=SingleSpike, reset_fn=MembraneReset())),
    "another threshold": lambda: _chain(lambda: _iaf(spike_threshold=torch.tensor(2.5))),
    "sum pool": lambda: _chain(_iaf, sl.SumPool2d(2)),
    "average pool": lambda: _chain(_iaf, nn.AvgPool2d(2)),
    "max pool": lambda: _chain(lambda: _iaf(spike_fn=SingleSpike), nn.MaxPool2d(2)),
    "dropout": lambda: _chain(_iaf, nn.Sequential(nn.Dropout2d(0.5), nn.AvgPool2d(2))),
    "pool on the input": lambda: nn.Sequential(
        sl.SumPool2d(2), nn.Conv2d(2, 4, 3, bias=False), _iaf(), nn.Flatten(), nn.Linear(16, 3), _iaf()
    ),
    "batch norm": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), _iaf(), nn.Flatten(), nn.Linear(144, 3), _iaf()
    ),
    "dense first": lambda: nn.Sequential(nn.Flatten(), nn.Linear(128, 9), _iaf(), nn.Linear(9, 3), _iaf()),
    "LIF": lambda: _chain(lambda: sl.LIFSqueeze(tau_mem=6.0, batch_size=1, spike_threshold=torch.tensor(0.25))),
    "LIF, input as it is": lambda: _chain(lambda: sl.LIFSqueeze(tau_mem=6.0, norm_input=False, batch_size=1)),
    "LIF with a current": lambda: _chain(
        lambda: sl.LIFSqueeze(tau_mem=6.0, tau_syn=3.0, norm_input=False, batch_size=1)
    ),
    "branches and merges": _Branches,
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_sinabs_fires_the_same_spikes(name: str, record_property: Record) -> None:
    def run(module: nn.Module, x: torch.Tensor) -> None:
        module(x[:, 0])  # the steps of one clip

    network, spikes = compared(lively(NETWORKS[name]()), SPEC, run, (sl.StatefulLayer,))
    assert len(spikes) == len(network.neurons)
    came_in(record_property, spikes.values())


def test_layers_that_keep_clips_and_steps_apart_fire_the_same_spikes(record_property: Record) -> None:
    module = nn.Sequential(nn.Flatten(2), nn.Linear(128, 9), sl.IAF(), nn.Linear(9, 4), sl.LIF(5.0, norm_input=False))

    def run(module: nn.Module, x: torch.Tensor) -> None:
        module(x.transpose(0, 1))

    _, spikes = compared(lively(module), SPEC, run, (sl.StatefulLayer,), clips_first=True)
    assert len(spikes) == 2
    came_in(record_property, spikes.values())


def test_neurons_without_spikes_and_adaptive_ones_are_refused_by_name() -> None:
    for odd in (sl.ExpLeak(tau_mem=3.0), sl.ALIF(5.0, 5.0)):
        module = nn.Sequential(nn.Flatten(2), nn.Linear(128, 9), odd, nn.Linear(9, 3), sl.IAF())
        with pytest.raises(UnsupportedError) as caught:
            from_torch(module, SPEC)
        assert [issue.where for issue in caught.value.issues] == ["2"]
        assert type(odd).__name__ in caught.value.issues[0].rule
