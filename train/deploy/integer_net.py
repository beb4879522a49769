# SPDX-License-Identifier: Apache-2.0
"""Computes a chip's integer network as a PyTorch module that can be trained, bit for bit as the chip does.

The parameters are the real weights and biases. Each forward pass rounds them as `quantise` does (same factor, same
rounding, same threshold) and computes in whole numbers, so its spikes are those of the integer network, bit for bit.
In the backward pass, rounding counts as the identity (straight-through, Bengio et al. 2013), and a spike as
SpikingJelly's arctangent surrogate of ``v / theta - 1``; a reset carries no gradient.

Sums are float32, which is exact below 2^24 (`simulators.clocked` computes the bound; 8-bit weights stay far below
it). Leaky states are float64, in which the product with the 12-bit leak is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from spikingjelly.activation_based import surrogate
from torch import nn

from spikefold.errors import UnsupportedError
from spikefold.export.network import INPUT, Layer, Network, SpikingLayer
from spikefold.export.neuron import Fire, Neuron, Order, Overflow, Reset
from spikefold.export.neuron_support import CARRIED, Limited, NeuronSupport, Refused, among, neuron_refusals
from spikefold.export.numbers import NumberFormat
from spikefold.export.ops import Concat, Conv2d, Dense, SumPool2d
from spikefold.export.passes.quantisable import refuse_unsupported
from spikefold.export.passes.quantise import integer_neuron, most_events, scale_for

NEURONS = NeuronSupport(
    "the trainable integer network",
    {
        "threshold": Limited(
            lambda neuron: neuron.threshold.ndim == 0, "a scalar", "fold per-channel factors into the weights"
        ),
        "fire": CARRIED,
        "reset": among("reset", [Reset.ZERO, Reset.SUBTRACT], "train with reset to zero"),
        # other than 0 with a reset to a value alone
        "reset_value": CARRIED,
        "leak": CARRIED,
        "v_min": CARRIED,
        "max_spikes": CARRIED,
        "order": CARRIED,
        "state_shift": CARRIED,
        # where it does not saturate, states beyond it are left as they are
        "state_bits": CARRIED,
        "overflow": Limited(
            lambda neuron: neuron.state_bits is None or neuron.overflow is not Overflow.WRAP,
            "forbid or saturate",
            "a state that wraps has no gradient here: adapt for a chip that saturates",
        ),
        "current": Refused("train neurons whose input acts at once"),
    },
)
"""The integer neurons that `fire_all` computes, bit for bit."""
Fires = Callable[[str, Neuron, torch.Tensor], torch.Tensor]
"""From a spiking layer's name, its integer neurons and their input ``(T, N, C, H, W)`` to its spikes, same shape."""


@dataclass(frozen=True, eq=False)
class Activity:
    """The values of one forward pass.

    Attributes:
        spikes: the spikes of the output layer, ``(T, N, K)``.
        current: the input current of the output layer in units of its threshold, ``(T, N, K)``.
        values: the output of every layer by name, ``(T * N, C, H, W)``.
    """

    spikes: torch.Tensor
    current: torch.Tensor
    values: Mapping[str, torch.Tensor]


class IntegerNet(nn.Module):
    """A real network that computes as it will on a chip.

    Args:
        network: a real, folded network that `quantise` accepts.
        chip: the number format of the chip.

    Attributes:
        bias_share: the factor on all biases; a training that fades them out lowers it from 1 to 0.

    Raises:
        UnsupportedError: `quantise` would refuse the network, or neurons of the chip cannot be trained here.
    """

    def __init__(self, network: Network, chip: NumberFormat) -> None:
        super().__init__()
        refuse_unsupported(network, chip)
        issues = []
        for block in network.blocks:
            scale, _ = scale_for(block.op, block.neuron, most_events(network, block.weights), chip)
            issues += neuron_refusals(integer_neuron(block.neuron, scale, chip), NEURONS, block.spiking.name)
        if issues:
            raise UnsupportedError(f"{NEURONS.name} {NEURONS.what}", issues=issues)
        self.network, self.chip, self.bias_share = network, chip, 1.0
        self.weights, self.biases = nn.ParameterDict(), nn.ParameterDict()
        for layer in network:
            if isinstance(layer.op, Conv2d | Dense):
                key = _key(layer.name)
                self.weights[key] = nn.Parameter(torch.tensor(layer.op.weight, dtype=torch.float32))
                if layer.op.bias is not None:
                    self.biases[key] = nn.Parameter(torch.tensor(layer.op.bias, dtype=torch.float32))

    def forward(
        self,
        frames: torch.Tensor,
        masks: Mapping[str, torch.Tensor] | None = None,
        fire: Fires | None = None,
    ) -> Activity:
        """Run frames ``(T, N, C, H, W)``.

        Args:
            frames: event counts of each step.
            masks: factors ``(C,)`` on the spikes of the named layers.
            fire: gives the spikes of each layer in place of `fire_all`.
        """
        steps, count = frames.shape[:2]
        values = {INPUT: frames.flatten(0, 1)}
        neurons: dict[str, Neuron] = {}
        current = spikes = frames
        for layer in self.network:
            inputs, op = [values[name] for name in layer.inputs], layer.op
            x = torch.cat(inputs, 1) if isinstance(op, Concat) else sum(inputs[1:], start=inputs[0])
            if isinstance(op, Conv2d | Dense):
                values[layer.name], neurons[layer.name] = self._weighted(layer, op, x)
            elif isinstance(op, SumPool2d):
                values[layer.name] = nn.functional.avg_pool2d(x, op.kernel, divisor_override=1)
            elif isinstance(op, Concat):
                values[layer.name] = x
            elif isinstance(layer, SpikingLayer):
                neuron = neurons[layer.inputs[0]]
                current = x.unflatten(0, (steps, count))
                spikes = fire_all(neuron, current) if fire is None else fire(layer.name, neuron, current)
                if masks and layer.name in masks:
                    spikes = spikes * masks[layer.name][:, None, None]
                current = current / float(neuron.threshold)
                values[layer.name] = spikes.flatten(0, 1)
        return Activity(spikes.flatten(2), current.flatten(2), values)

    def _weighted(self, layer: Layer, op: Conv2d | Dense, x: torch.Tensor) -> tuple[torch.Tensor, Neuron]:
        real, neuron = self._op(layer, op), self.network.block(layer.name).neuron
        scale, _ = scale_for(real, neuron, most_events(self.network, layer), self.chip)
        weight = _rounded(self.weights[_key(layer.name)], scale)
        bias = None
        if real.bias is not None:
            bias = _rounded(self.biases[_key(layer.name)] * self.bias_share, scale)
        if isinstance(op, Dense):
            y = nn.functional.linear(x.flatten(1), weight, bias)[:, :, None, None]
        else:
            y = nn.functional.conv2d(x, weight, bias, op.stride, op.padding, op.dilation, op.groups)
        return y, integer_neuron(neuron, scale, self.chip)

    def _op(self, layer: Layer, op: Conv2d | Dense) -> Conv2d | Dense:
        key = _key(layer.name)
        weight = self.weights[key].detach().double().numpy()
        if key not in self.biases or not self.bias_share:
            return replace(op, weight=weight, bias=None)
        return replace(op, weight=weight, bias=(self.biases[key] * self.bias_share).detach().double().numpy())

    def to_network(self) -> Network:
        """The real network with the present weights; a bias that was faded out is removed."""
        layers = [
            replace(layer, op=self._op(layer, layer.op)) if isinstance(layer.op, Conv2d | Dense) else layer
            for layer in self.network
        ]
        return self.network.rewritten(layers, "adapt")

    @torch.no_grad()
    def blend(self, start: list[torch.Tensor], share: float) -> None:
        """Replace each parameter by ``share * parameter + (1 - share) * start``."""
        for parameter, before in zip(self.parameters(), start, strict=True):
            parameter.mul_(share).add_(before, alpha=1 - share)

    @torch.no_grad()
    def cap_weights(self) -> None:
        """Lower every weight to the threshold of its neurons at most, so that one event makes at most one spike."""
        for block in self.network.blocks:
            self.weights[_key(block.weights.name)].clamp_(max=float(block.neuron.threshold))


def fire_all(neuron: Neuron, current: torch.Tensor) -> torch.Tensor:
    """The spikes of integer neurons for their input ``(T, N, C, H, W)``, from zero state; equations in `neuron`."""
    surrogate_step = surrogate.ATan()
    unit = 2**neuron.state_shift
    # states are multiples of 1/unit, so "above theta" is "at or above theta + 1/unit"
    above = 1 / unit if neuron.fire is Fire.GT else 0
    theta = float(neuron.threshold) + above
    x = current if neuron.leak is None else current.double()
    v = torch.zeros_like(x[0])
    spikes = []
    for step in x:
        v = _leaked(neuron, v + step) if neuron.order is Order.INPUT_FIRST else _leaked(neuron, v) + step
        if neuron.state_bits is not None and neuron.overflow is Overflow.SATURATE:
            most = (2 ** (neuron.state_bits - 1) - 1) / unit
            v = v.clamp(-most, most)
        fired: torch.Tensor = surrogate_step((v - theta) / float(neuron.threshold))
        if neuron.max_spikes != 1:
            fitting = torch.clamp(torch.floor((v - above) / float(neuron.threshold)), 0, neuron.max_spikes)
            fired = straight_through(fitting, fired)
        reset = fired.detach()
        v = v - reset * float(neuron.threshold) if neuron.reset is Reset.SUBTRACT else v * (reset == 0)
        if neuron.v_min is not None:
            v = v.clamp(min=neuron.v_min / unit)
        spikes.append(fired.to(current.dtype))
    return torch.stack(spikes)


def _leaked(neuron: Neuron, v: torch.Tensor) -> torch.Tensor:
    leak = neuron.leak
    if leak is None:
        return v
    kept = v * (leak.keep / 2**leak.shift)
    unit = 2**neuron.state_shift
    exact = torch.trunc(v.detach() * unit * leak.keep / 2**leak.shift) / unit
    return straight_through(exact, kept)


def _rounded(values: torch.Tensor, scale: float) -> torch.Tensor:
    """Round to whole numbers, half to even, in float64 as `quantise` does; the gradient is ``scale``."""
    whole = torch.round(values.detach().double() * scale).to(values.dtype)
    return straight_through(whole, values * scale)


def straight_through(value: torch.Tensor, path: torch.Tensor) -> torch.Tensor:
    """Return exactly ``value``, with the gradient of ``path``."""
    return value.detach() + (path - path.detach())


def _key(name: str) -> str:
    """The name of a layer's parameter; PyTorch allows no dot in it."""
    return name.replace(".", "·")
