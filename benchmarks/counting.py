# SPDX-License-Identifier: Apache-2.0
"""Counting the operations of a running network: spikefold, SpikingJelly and NeuroBench against the plain forward.

The small network is the one that the tools were compared on (T 8, N 4, 2x32x32), the other has the size of a DVS
recording (T 4, N 2, 2x128x128, 64 channels). Every figure is the median of ratios to a plain forward in the same
round, process time; each counter sees one batch and pays its set-up in it, ours once more over several. The counts
are those of that batch.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from spikingjelly.activation_based import functional, layer, neuron, op_counter
from torch import nn

import spikefold.energy

ROUNDS = {"small": 25, "DVS-sized": 7}
BATCHES = 5


def table() -> Iterator[tuple[str, str]]:
    """Rows of name and figure."""
    for name, network, frames in (("small", *small()), ("DVS-sized", *dvs_sized())):
        counters = {"spikefold": _ours, "SpikingJelly SynOp": _synop, "SpikingJelly MAC": _mac,
                    "SpikingJelly MAC + AC + SynOp": _all_of_spikingjelly}  # fmt: skip
        missing = _why_no_neurobench()
        if not missing:
            counters["NeuroBench SynapticOperations"] = _neurobench
        counted = {title: counter(network, frames) for title, counter in counters.items()}
        counters[f"spikefold, {BATCHES} batches"] = _ours_on_many
        plain, ratios = _timed(network, frames, counters, ROUNDS[name])
        yield f"{name}, plain forward", f"{plain * 1e3:9.1f} ms"
        for title in counters:
            low, high = min(ratios[title]), max(ratios[title])
            figure = f"{statistics.median(ratios[title]):6.2f} x  (min {low:.2f}, max {high:.2f})"
            yield f"{name}, {title}", f"{figure}  {counted.get(title, '')}"
        if missing:
            yield f"{name}, NeuroBench", f"NOT RUN: {missing}"


def small() -> tuple[nn.Sequential, torch.Tensor]:
    """The network of the comparison of tools, variant A, and its frames."""
    torch.manual_seed(0)
    parts = [
        _conv(2, 16), layer.BatchNorm2d(16, step_mode="m"), _lif(), layer.AvgPool2d(2, step_mode="m"),
        _conv(16, 32), layer.BatchNorm2d(32, step_mode="m"), _lif(), layer.MaxPool2d(2, step_mode="m"),
        layer.Conv2d(32, 32, 3, padding=1, stride=2, groups=4, step_mode="m"), _lif(),
        layer.Flatten(step_mode="m"), layer.Linear(512, 10, step_mode="m"), _lif(),
    ]  # fmt: skip
    return _lively(nn.Sequential(*parts), _frames(8, 4, 32))


def dvs_sized() -> tuple[nn.Sequential, torch.Tensor]:
    """64 channels at 128x128."""
    torch.manual_seed(0)
    parts = [_conv(2, 64), layer.BatchNorm2d(64, step_mode="m"), _lif(), layer.MaxPool2d(2, step_mode="m"),
             _conv(64, 64), layer.BatchNorm2d(64, step_mode="m"), _lif(), layer.MaxPool2d(2, step_mode="m"),
             layer.Flatten(step_mode="m"), layer.Linear(64 * 32 * 32, 11, step_mode="m"), _lif()]  # fmt: skip
    return _lively(nn.Sequential(*parts), _frames(4, 2, 128))


def _conv(c_in: int, c_out: int) -> nn.Module:
    return layer.Conv2d(c_in, c_out, 3, padding=1, bias=False, step_mode="m")


def _lif() -> nn.Module:
    return neuron.LIFNode(step_mode="m")


def _frames(steps: int, clips: int, side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(steps, clips, 2, side, side, generator=generator) < 0.05).float()


def _lively(network: nn.Sequential, frames: torch.Tensor) -> tuple[nn.Sequential, torch.Tensor]:
    """Batch norm calibrated on the frames, so that layers with random weights spike."""
    for part in network:
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(part.weight)
    with torch.no_grad():
        for _ in range(2):
            network(frames)
            functional.reset_net(network)
    return network.eval(), frames


def _plain(network: nn.Module, frames: torch.Tensor) -> None:
    functional.reset_net(network)
    with torch.no_grad():
        network(frames)


def _timed(
    network: nn.Module, frames: torch.Tensor, counters: dict[str, Callable[..., str]], rounds: int
) -> tuple[float, dict[str, list[float]]]:
    """Median seconds of the plain forward, and each counter's times over the plain forward of its round."""
    plains: list[float] = []
    ratios: dict[str, list[float]] = {title: [] for title in counters}
    for _ in range(rounds):
        for title, counter in counters.items():
            _plain(network, frames)  # what the counter before left in the caches
            plain = _seconds(_plain, network, frames)
            plains.append(plain)
            batches = BATCHES if counter is _ours_on_many else 1
            ratios[title].append(_seconds(counter, network, frames) / (batches * plain))
    return statistics.median(plains), ratios


def _seconds(run: Callable[..., object], network: nn.Module, frames: torch.Tensor) -> float:
    started = time.process_time()
    run(network, frames)
    return time.process_time() - started


def _ours(network: nn.Module, frames: torch.Tensor) -> str:
    total = spikefold.energy.profile(network, frames).total
    return f"pairs {total.pairs:,}, events {total.events:,}, dense {total.dense:,}"


def _ours_on_many(network: nn.Module, frames: torch.Tensor) -> None:
    spikefold.energy.profile(network, [frames] * BATCHES)


def _spikingjelly(network: nn.Module, frames: torch.Tensor, **counters: Any) -> str:
    functional.reset_net(network)
    with torch.no_grad(), op_counter.DispatchCounterMode(list(counters.values())):
        network(frames)
    return ", ".join(f"{name} {int(counter.get_total()):,}" for name, counter in counters.items())


def _synop(network: nn.Module, frames: torch.Tensor) -> str:
    return _spikingjelly(network, frames, SynOp=op_counter.SynOpCounter())


def _mac(network: nn.Module, frames: torch.Tensor) -> str:
    return _spikingjelly(network, frames, MAC=op_counter.MACCounter())


def _all_of_spikingjelly(network: nn.Module, frames: torch.Tensor) -> str:
    return _spikingjelly(
        network, frames, MAC=op_counter.MACCounter(), AC=op_counter.ACCounter(), SynOp=op_counter.SynOpCounter()
    )


def _why_no_neurobench() -> str:
    missing = [name for name in ("neurobench", "snntorch") if importlib.util.find_spec(name) is None]
    return f"{' and '.join(missing)} not installed" if missing else ""


def _neurobench(network: nn.Module, frames: torch.Tensor) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from neurobench.metrics.workload import SynapticOperations
        from neurobench.models import TorchModel
    functional.reset_net(network)
    model, metric = TorchModel(network), SynapticOperations()
    model.register_hooks()
    with torch.no_grad():
        predictions = model(frames)
        # it divides by the first axis, here the steps
        found = metric(model, predictions, (frames, None))
    model.cleanup_hooks()
    return ", ".join(f"{name} {round(value * frames.shape[0]):,}" for name, value in found.items())
