# SPDX-License-Identifier: Apache-2.0
"""The counters that are timed and compared: each runs a network over batches and gives its counts by name.

Whatever a counter needs to be set up is inside, so that it is paid in the time. SpikingJelly and NeuroBench book a
layer as accumulations (AC) if its input is binary, else as multiplications (MAC).
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from spikingjelly.activation_based import functional, op_counter
from torch import nn

import spikefold.energy

Counts = dict[str, int]
Counter = Callable[[nn.Module, Sequence[torch.Tensor]], Counts]
OURS = "spikefold"


def counters() -> dict[str, Counter]:
    """All counters that are installed, ours first."""
    found: dict[str, Counter] = {OURS: _spikefold, "SpikingJelly SynOp": _synop, "SpikingJelly MAC + AC": _mac_and_ac}
    if not why_no_neurobench():
        found["NeuroBench"] = _neurobench
    return found


def why_no_neurobench() -> str:
    """What NeuroBench misses, or an empty string."""
    missing = [name for name in ("neurobench", "snntorch") if importlib.util.find_spec(name) is None]
    return f"{' and '.join(missing)} not installed (make bench does)" if missing else ""


def plain(network: nn.Module, batches: Sequence[torch.Tensor]) -> None:
    """The forward that everything is compared to."""
    with torch.no_grad():
        for frames in batches:
            functional.reset_net(network)
            network(frames)


def _spikefold(network: nn.Module, batches: Sequence[torch.Tensor]) -> Counts:
    found = spikefold.energy.profile(network, batches)
    binary = [one for one in found.layers if one.input_kind == "binary"]
    others = [one for one in found.layers if one.input_kind in ("graded", "signed", "analog")]
    norms = sum(one.multiplies for one in found.layers if one.op == "batch_norm")
    return {
        "pairs of binary input": sum(one.pairs for one in binary),
        "pairs of other input": sum(one.pairs for one in others),
        "events": found.total.events,
        "dense": found.total.dense,
        "dense with padding of other input + batch norm": sum(one.dense_padded for one in others) + norms,
    }


def _synop(network: nn.Module, batches: Sequence[torch.Tensor]) -> Counts:
    return _spikingjelly(network, batches, SynOp=op_counter.SynOpCounter())


def _mac_and_ac(network: nn.Module, batches: Sequence[torch.Tensor]) -> Counts:
    return _spikingjelly(network, batches, MAC=op_counter.MACCounter(), AC=op_counter.ACCounter())


def _spikingjelly(network: nn.Module, batches: Sequence[torch.Tensor], **named: Any) -> Counts:
    with op_counter.DispatchCounterMode(list(named.values())):
        plain(network, batches)
    return {name: int(counter.get_total()) for name, counter in named.items()}


def _neurobench(network: nn.Module, batches: Sequence[torch.Tensor]) -> Counts:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from neurobench.metrics.workload import SynapticOperations
        from neurobench.models import TorchModel
    model, metric = TorchModel(network), SynapticOperations()
    model.register_hooks()
    with torch.no_grad():
        for frames in batches:
            functional.reset_net(network)
            model.reset_hooks()
            found = metric(model, model(frames), (frames, None))
    model.cleanup_hooks()
    # it divides by the first axis of all batches, here the steps
    return {name: round(float(value) * metric.total_samples) for name, value in found.items()}
