# SPDX-License-Identifier: Apache-2.0
"""Networks of snnTorch come in as tutorials write them: loops over steps, hidden states, two values returned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import snntorch as snn
import torch
from torch import nn

from spikefold.errors import UnsupportedError
from spikefold.export.from_torch import from_torch
from spikefold.export.network import InputSpec
from spikefold.export.neuron import Fire
from tests.came_in import Record, came_in, was_refused
from tests.export.pytorch.libraries import compared, lively

SPEC = InputSpec((2, 8, 8), 1000, 10)
KINDS = (snn.Leaky, snn.Synaptic)


class _Loop(nn.Module):
    """The tutorials' way: states are variables, outputs are stacked."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(128, 20), snn.Leaky(**options)
        self.fc2, self.lif2 = nn.Linear(20, 4), snn.Leaky(**options)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes, potentials = [], []
        for step in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[step].flatten(1)), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
            potentials.append(mem2)
        return torch.stack(spikes), torch.stack(potentials)


class _Recurrent(_Loop):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spk1, spikes = torch.zeros(x.shape[1], 20), []
        for step in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[step].flatten(1)) + spk1, mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
        return torch.stack(spikes), mem2


def _conv(**options: Any) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), snn.Leaky(init_hidden=True, **options), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 4),
        snn.Leaky(init_hidden=True, output=True, **options),
    )  # fmt: skip


def _synaptic(**options: Any) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(128, 9), snn.Synaptic(init_hidden=True, **options), nn.Linear(9, 4),
        snn.Synaptic(init_hidden=True, **options),
    )  # fmt: skip


NETWORKS: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "loop, reset to zero": (lambda: _Loop(beta=0.75, reset_mechanism="zero"), True),
    "loop, reset to zero at once": (lambda: _Loop(beta=0.75, reset_mechanism="zero", reset_delay=False), True),
    "loop, no leak, subtraction": (lambda: _Loop(beta=1.0), True),
    "loop, learned": (
        lambda: _Loop(beta=0.5, learn_beta=True, learn_threshold=True, threshold=1.5, reset_mechanism="zero"), True,
    ),
    "hidden, reset to zero": (lambda: _conv(beta=0.75, reset_mechanism="zero"), False),
    "hidden, no leak": (lambda: _conv(beta=1.0), False),
    "hidden, no memory": (lambda: _conv(beta=0.0, reset_mechanism="zero"), False),
    "hidden, another threshold": (lambda: _conv(beta=0.5, threshold=2.0, reset_mechanism="zero"), False),
    "current": (lambda: _synaptic(alpha=0.5, beta=0.75, reset_mechanism="zero", reset_delay=False), False),
    "current, no leak": (lambda: _synaptic(alpha=0.5, beta=1.0), False),
    "no current": (lambda: _synaptic(alpha=0.0, beta=0.5, reset_mechanism="zero", reset_delay=False), False),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_snntorch_fires_the_same_spikes(name: str, record_property: Record) -> None:
    build, whole = NETWORKS[name]

    def run(module: nn.Module, x: torch.Tensor) -> None:
        for steps in [x] if whole else x:
            module(steps)

    network, spikes = compared(lively(build()), SPEC, run, KINDS)
    assert len(spikes) == len(network.neurons) == 2
    assert all(layer.op.fire is Fire.GT for layer in network.neurons)
    came_in(record_property, spikes.values())


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (_Loop(beta=0.75), "reset by subtraction with beta 0.75"),
        (_Loop(beta=1.0, reset_delay=False), "reset_delay=False"),
        (_Loop(beta=1.0, reset_mechanism="none"), "without a reset"),
        (_Loop(beta=0.5, reset_mechanism="zero", graded_spikes_factor=2.0), "graded spikes"),
        (_synaptic(alpha=0.5, beta=0.5, reset_mechanism="zero"), "one step late"),
        (_Recurrent(beta=0.5, reset_mechanism="zero"), "different time steps"),
    ],
)
def test_what_no_neuron_here_does_is_refused_with_the_reason(
    module: nn.Module, reason: str, record_property: Record
) -> None:
    with pytest.raises(UnsupportedError) as caught:
        from_torch(module, SPEC)
    assert reason in " ".join(issue.rule for issue in caught.value.issues)
    was_refused(record_property, reason)
