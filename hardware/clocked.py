# SPDX-License-Identifier: Apache-2.0
"""The fast clocked engine, in PyTorch: layer by layer over all steps at once, batched, equal to the reference.

Exactness of integer networks: a float32 convolution of whole numbers is exact in any order of summation while
``sum |w| * max |x| + |b| < 2**24``, a float64 one below 2**53; the bound is computed from weights and inputs before
each layer. States are whole numbers in float64, and a leak's product stays below 2**53, so its truncation is exact.
"""

from __future__ import annotations

import numpy as np
import torch

from spikefold.errors import UnsupportedError
from spikefold.export.network import INPUT, Network
from spikefold.export.neuron import Fire, Neuron, Order, Overflow, Reset
from spikefold.export.ops import AvgPool2d, BatchNorm, Concat, Conv2d, Dense, Gate, MaxPool2d, SumPool2d
from spikefold.hardware.reference import check_frames
from spikefold.hardware.trace import LayerTrace, Trace, concatenate

RUNNER = "torch"


@torch.no_grad()
def run(network: Network, frames: np.ndarray, *, potentials: bool = False, batch: int = 25) -> Trace:
    """Simulate clips ``(T, N, C, H, W)``, each from zero state, ``batch`` at a time.

    Raises:
        NetworkError: the frames do not have the network's input shape.
        UnsupportedError: an integer network whose sums could leave what float64 holds exactly.
    """
    check_frames(network, frames)
    chunks = range(0, frames.shape[1], batch)
    return concatenate([Trace(RUNNER, _forward(network, frames[:, i : i + batch], potentials)[1]) for i in chunks])


@torch.no_grad()
def values(network: Network, frames: np.ndarray) -> dict[str, np.ndarray]:
    """What the input and every layer give, ``(T * N, C, H, W)`` by name, for a few clips ``(T, N, C, H, W)``.

    Raises:
        NetworkError: the frames do not have the network's input shape.
    """
    check_frames(network, frames)
    return {name: value.numpy() for name, value in _forward(network, frames, potentials=False)[0].items()}


def _forward(
    network: Network, frames: np.ndarray, potentials: bool
) -> tuple[dict[str, torch.Tensor], dict[str, LayerTrace]]:
    steps, count = frames.shape[:2]
    values: dict[str, torch.Tensor] = {INPUT: torch.from_numpy(frames.astype(np.float64)).flatten(0, 1)}
    layers: dict[str, LayerTrace] = {}
    for layer in network:
        inputs = [values[name] for name in layer.inputs]
        x = torch.cat(inputs, 1) if isinstance(layer.op, Concat) else sum(inputs[1:], start=inputs[0])
        if isinstance(layer.op, Neuron):
            spikes, layers[layer.name] = _neurons(layer.op, x.unflatten(0, (steps, count)), potentials)
            values[layer.name] = spikes.flatten(0, 1)
        else:
            values[layer.name] = _stateless(layer.op, x, exact=network.is_integer, where=layer.name)
    return values, layers


def _stateless(op: object, x: torch.Tensor, *, exact: bool, where: str) -> torch.Tensor:
    match op:
        case Conv2d() | Dense():
            dtype = _exact_dtype(op, x, where) if exact else torch.float64
            weight = torch.tensor(op.weight, dtype=dtype)
            bias = None if op.bias is None else torch.tensor(op.bias, dtype=dtype)
            x = x.to(dtype)
            if isinstance(op, Dense):
                return torch.nn.functional.linear(x.flatten(1), weight, bias)[:, :, None, None].double()
            y = torch.nn.functional.conv2d(x, weight, bias, op.stride, op.padding, op.dilation, op.groups)
            return y.double()
        case SumPool2d():
            return torch.nn.functional.avg_pool2d(x, op.kernel, divisor_override=1)
        case AvgPool2d():
            return torch.nn.functional.avg_pool2d(x, op.kernel)
        case MaxPool2d():
            return torch.nn.functional.max_pool2d(x, op.kernel)
        case Concat():
            return x  # the inputs lie side by side already
        case BatchNorm():
            mean, var, gamma, beta = (torch.tensor(v) for v in (op.mean, op.var, op.gamma, op.beta))
            return torch.nn.functional.batch_norm(x, mean, var, gamma, beta, training=False, eps=op.eps)
        case Gate():
            return x * torch.tensor(op.factors)
    raise UnsupportedError(f"the clocked engine does not know {type(op).__name__}", where=where)


def _exact_dtype(op: Conv2d | Dense, x: torch.Tensor, where: str) -> torch.dtype:
    """The narrowest float that holds every partial sum of this layer exactly."""
    weights = int(np.abs(op.weight).reshape(len(op.weight), -1).sum(axis=1).max())
    bound = weights * int(x.abs().max()) + (0 if op.bias is None else int(np.abs(op.bias).max()))
    if bound < 2**24:
        return torch.float32
    if bound < 2**53:
        return torch.float64
    raise UnsupportedError(f"sums up to {bound} are not exact in float64", where=where, hint="use the reference")


def _neurons(neuron: Neuron, x: torch.Tensor, potentials: bool) -> tuple[torch.Tensor, LayerTrace]:
    """A spiking layer over input ``(T, N, C, H, W)``: its spikes in float64 and its trace."""
    shift = 2**neuron.state_shift
    theta = torch.tensor(neuron.threshold, dtype=torch.float64) * shift
    v = torch.zeros_like(x[0])
    spikes, states = torch.empty_like(x), []
    low, high, overflow = 0.0, 0.0, 0
    for step, current in enumerate(x * shift):
        v = _leaked(neuron, v + current) if neuron.order is Order.INPUT_FIRST else _leaked(neuron, v) + current
        v, lost = _bounded(neuron, v)
        low, high = min(low, float(v.min())), max(high, float(v.max()))
        overflow += lost
        spikes[step] = fired = _fired(neuron, v, theta)
        v = _reset(neuron, v, fired, theta)
        if potentials:
            states.append(v)
    raster = spikes.numpy().astype(np.uint16)
    kept = torch.stack(states).numpy() if potentials else None
    if kept is not None and neuron.is_integer:
        kept = kept.astype(np.int64)
    return spikes, LayerTrace(raster, (low, high), overflow, kept)


def _leaked(neuron: Neuron, v: torch.Tensor) -> torch.Tensor:
    if neuron.leak is None:
        return v
    kept = v * neuron.leak.keep / 2**neuron.leak.shift
    return kept.trunc() if neuron.is_integer else kept


def _bounded(neuron: Neuron, v: torch.Tensor) -> tuple[torch.Tensor, int]:
    if neuron.state_bits is None:
        return v, 0
    largest = 2 ** (neuron.state_bits - 1) - 1
    if neuron.overflow is Overflow.FORBID:
        return v, int(((v > largest) | (v < -largest - 1)).sum())
    if neuron.overflow is Overflow.SATURATE:
        held = v.clamp(-largest, largest)
    else:
        held = torch.remainder(v + largest + 1, 2 * largest + 2) - largest - 1
    return held, int((held != v).sum())


def _fired(neuron: Neuron, v: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    if neuron.max_spikes == 1:
        return ((v >= theta) if neuron.fire is Fire.GE else (v > theta)).double()
    fitting = torch.floor(v / theta) if neuron.fire is Fire.GE else torch.ceil(v / theta) - 1
    return fitting.clamp(min=0, max=neuron.max_spikes)


def _reset(neuron: Neuron, v: torch.Tensor, fired: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    if neuron.reset is Reset.SUBTRACT:
        v = v - fired * theta
    else:
        v = torch.where(fired > 0, torch.tensor(neuron.reset_value, dtype=v.dtype), v)
    return v if neuron.v_min is None else v.clamp_min(neuron.v_min)
