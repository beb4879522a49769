# SPDX-License-Identifier: Apache-2.0
"""A training step of the paper's network A against its convolutions and matrix products alone, 20 steps, 2 clips.

A step is what `train.loop` does with a batch: reset, forward, loss, backward, Adam. The products alone are the same
modules with the same inputs and gradients, forward and backward, nothing between them; once with every array in
PyTorch's usual order and once with channels last, in which our networks keep them. The first is what anybody would
write, the second is the faster one. Stepping through time and SpikingJelly's own multi-step neurons are the peers.
The network's dropout is a row of its own and off in the others.

All variants take turns, so that a busy machine slows them alike; process time, medians of five turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Literal

import torch
from spikingjelly.activation_based import functional, layer, neuron

from spikefold.config import TrainConfig
from spikefold.train.models.architectures import architecture
from spikefold.train.models.fast_if import FastIF
from spikefold.train.models.fast_lif import FastLIF
from spikefold.train.models.mean_pool import MeanPool
from spikefold.train.models.spiking_net import SpikingNet
from spikefold.train.schedule import adam

STEPS, CLIPS, CLASSES, RUNS = 20, 2, 11, 5
Reduction = Literal["pool", "stride"]


def table() -> Iterator[tuple[str, str]]:
    """Rows of name and figure."""
    runs: dict[str, Callable[[], object]] = {}
    for reduction in ("pool", "stride"):
        net = _network(reduction)
        frames = torch.poisson(torch.full((STEPS, CLIPS, *net.shape), 0.3))
        runs |= {
            f"{reduction}: training step": _training(net, net, frames),
            f"{reduction}: products alone": _products(net, frames, last=False),
            f"{reduction}: products alone, channels last": _products(net, frames, last=True),
        }
        theirs = _as_spikingjelly(_network(reduction))
        runs[f"{reduction}: SpikingJelly multi-step"] = _training(theirs, _plainly(theirs), frames)
        if reduction == "pool":
            dropping = _network(reduction, dropout=True)
            runs["pool: training step, its dropout"] = _training(dropping, dropping, frames)
            by_step = _as_spikingjelly(_network(reduction))
            functional.set_step_mode(by_step, "s")
            runs[f"{reduction}: SpikingJelly, stepping"] = _training(by_step, _stepping(by_step), frames)
    times = _in_turns(runs)
    for name, found in times.items():
        yield name, f"{_ms(found):7.1f} ms  (min {1e3 * min(found):.1f}, max {1e3 * max(found):.1f})"
    for reduction in ("pool", "stride"):
        step = times[f"{reduction}: training step"]
        for other in ("products alone", "products alone, channels last", "SpikingJelly multi-step"):
            yield f"{reduction}: step / {other}", _ratio(step, times[f"{reduction}: {other}"])
    yield "pool step / stride step", _ratio(times["pool: training step"], times["stride: training step"])


def _network(reduction: Reduction, *, dropout: bool = False) -> SpikingNet:
    given = architecture("a")
    torch.manual_seed(0)
    changed = {"reduction": reduction, "dropout": given.model.dropout if dropout else ()}
    return SpikingNet(given.model.model_copy(update=changed), given.shape, STEPS, CLASSES)


def _training(
    net: SpikingNet, forward: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]], frames: torch.Tensor
) -> Callable[[], object]:
    optimiser = adam(net.parameters(), TrainConfig())
    wanted = torch.nn.functional.one_hot(torch.arange(CLIPS), CLASSES).float()

    def step() -> None:
        functional.reset_net(net)
        spikes = forward(frames)[1]
        loss = torch.nn.functional.mse_loss(spikes.mean(dim=(0, 3)), wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def _products(net: SpikingNet, frames: torch.Tensor, *, last: bool) -> Callable[[], object]:
    """Convolutions and dense layers on the inputs that they have in the network, and on gradients of that shape."""
    parts: list[tuple[torch.nn.Module, torch.Tensor, torch.Tensor]] = []

    def record(module: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        x, gradient = (tensor.detach() if last else tensor.detach().contiguous() for tensor in (inputs[0], output))
        parts.append((module, x.requires_grad_(bool(parts)), torch.randn_like(gradient)))

    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    handles = [m.register_forward_hook(record) for m in net.modules() if isinstance(m, kinds)]
    net(frames)
    for handle in handles:
        handle.remove()
    functional.reset_net(net)

    def run() -> None:
        net.zero_grad()
        for module, x, gradient in parts:
            x.grad = None
            module(x).backward(gradient)

    return run


def _as_spikingjelly(net: SpikingNet) -> SpikingNet:
    """The same network of SpikingJelly's neurons and pools."""
    for name, module in list(net.layers.named_children()):
        if isinstance(module, FastLIF):
            net.layers.set_submodule(
                name,
                neuron.LIFNode(
                    module.tau,
                    module.decay_input,
                    module.v_threshold,
                    module.v_reset,
                    module.surrogate_function,
                    module.detach_reset,
                    "m",
                ),
            )
        elif isinstance(module, FastIF):
            net.layers.set_submodule(
                name,
                neuron.IFNode(
                    module.v_threshold, module.v_reset, module.surrogate_function, module.detach_reset, "m"
                ),
            )
        elif isinstance(module, MeanPool):
            net.layers.set_submodule(name, layer.AvgPool2d(module.kernel_size, step_mode="m"))
    return net


def _plainly(net: SpikingNet) -> Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """A whole clip through one layer after the other, in PyTorch's usual order."""

    def forward(frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        spikes = net.layers(frames)
        return spikes, spikes[..., None]

    return forward


def _stepping(net: SpikingNet) -> Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """One step through all layers after the other."""
    flat = torch.nn.Sequential(*(torch.nn.Flatten() if isinstance(m, torch.nn.Flatten) else m for m in net.layers))

    def forward(frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        spikes = torch.stack([flat(frame) for frame in frames])
        return spikes, spikes[..., None]

    return forward


def _in_turns(runs: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(RUNS + 1):
        for name, run in runs.items():
            started = time.process_time()
            run()
            if turn:  # the first one compiles and allocates
                times[name].append(time.process_time() - started)
    return times


def _ms(times: list[float]) -> float:
    return 1e3 * statistics.median(times)


def _ratio(one: list[float], other: list[float]) -> str:
    return f"{_ms(one) / _ms(other):7.2f}"
