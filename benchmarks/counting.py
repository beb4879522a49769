# SPDX-License-Identifier: Apache-2.0
"""Counting the operations of a running network: spikefold, SpikingJelly and NeuroBench against the plain forward.

The small network is the one that the tools were compared on (T 8, N 4, 2x32x32), the other has the size of a DVS
recording (T 4, N 2, 2x128x128, 64 channels). Every figure is the median of ratios to a plain forward in the same
round, process time; each counter pays its set-up, for one batch alone and for five. The counts compared are those of
the one batch.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from benchmarks.counters import OURS, Counter, Counts, counters, plain, why_no_neurobench

ROUNDS = {"small": 75, "DVS-sized": 15}
ROUNDS_OF_MANY = {"small": 15, "DVS-sized": 5}
BATCHES = 5
# what a tool counts, and which of our counts it should be
SAME = {
    ("SpikingJelly SynOp", "SynOp"): "pairs of binary input",
    ("SpikingJelly MAC + AC", "MAC"): "dense with padding of other input + batch norm",
    ("NeuroBench", "Effective_ACs"): "pairs of binary input",
    ("NeuroBench", "Effective_MACs"): "pairs of other input",
    ("NeuroBench", "Dense"): "dense",
}


def table() -> Iterator[tuple[str, str]]:
    """Rows of name and figure."""
    tools, missing = counters(), why_no_neurobench()
    for name, network, frames in (("small", *small()), ("DVS-sized", *dvs_sized())):
        counted = {title: count(network, [frames]) for title, count in tools.items()}
        for batches, rounds in ((1, ROUNDS[name]), (BATCHES, ROUNDS_OF_MANY[name])):
            seconds, ratios = _timed(network, [frames] * batches, tools, rounds)
            what = f"{name}, {batches} batch{'es' if batches > 1 else ''}"
            yield f"{what}, plain forward", f"{seconds * 1e3:9.1f} ms"
            for title, found in ratios.items():
                figure = f"{statistics.median(found):6.2f} x  (min {min(found):.2f}, max {max(found):.2f})"
                yield f"{what}, {title}", figure
            if missing:
                yield f"{what}, NeuroBench", f"NOT RUN: {missing}"
        yield from _compared(name, counted)


def _compared(name: str, counted: dict[str, Counts]) -> Iterator[tuple[str, str]]:
    """Rows of each tool's counts beside ours."""
    ours = counted[OURS]
    for title, counts in counted.items():
        for what, count in counts.items():
            same = SAME.get((title, what))
            if title == OURS:
                said = ""
            elif same is None:
                said = "(with the additions inside of neurons, which we do not count)"
            elif count == ours[same]:
                said = f"= our {same}"
            else:
                said = f"{count / max(1, ours[same]):.4f} x our {same} ({ours[same]:,})"
            yield f"{name}, {title}, {what}", f"{count:15,} {said}".rstrip()


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


def _timed(
    network: nn.Module, batches: Sequence[torch.Tensor], tools: dict[str, Counter], rounds: int
) -> tuple[float, dict[str, list[float]]]:
    """Median seconds of the plain forward, and each counter's times over the plain forward of its turn."""
    plains: list[float] = []
    ratios: dict[str, list[float]] = {title: [] for title in tools}
    for _ in range(rounds):
        for title, count in tools.items():
            plain(network, batches[:1])  # what the counter before left in the caches
            seconds = _seconds(plain, network, batches)
            plains.append(seconds)
            ratios[title].append(_seconds(count, network, batches) / seconds)
    return statistics.median(plains), ratios


def _seconds(run: Callable[..., Any], network: nn.Module, batches: Sequence[torch.Tensor]) -> float:
    functional.reset_net(network)  # a state that is kept to be given back takes memory that the forward is used to
    started = time.process_time()
    run(network, batches)
    return time.process_time() - started
