# SPDX-License-Identifier: Apache-2.0
"""Converts a folded real network for Speck2f or Speck2e: placed by us, discretised and configured by sinabs 3.1.

The only file that imports sinabs. samna is not needed (`board.samna_standin`), and its PyPI stub is
never run. sinabs computes in float32 by default and adds a lower bound of its own; here every module is float64 and
the lower bound is the chip's, so that its common scale and its rounding are those of `passes.quantise`, bit for bit.
`spikefold.hardware.speck.lowering.sinabs_check.differences` holds the two against each other.

`discretised` stops before the cores: sinabs' forward gives the spikes of a network that no core holds as a whole.
"""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sinabs.layers as sl
import torch
from sinabs.activation import MaxSpike, MembraneReset, MembraneSubtract, MultiSpike, SingleSpike
from torch import nn

from spikefold.errors import EnvironmentLacksError, Issue, UnsupportedError
from spikefold.export.network import INPUT, Network, SpikingLayer
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.neuron_support import CARRIED, NeuronSupport, Refused, refuse
from spikefold.export.ops import Conv2d, Dense, Shape, SumPool2d
from spikefold.export.passes.quantise import LayerScale, quantise, raised
from spikefold.files import replacing
from spikefold.hardware.speck.board.samna_standin import SpeckConfiguration, as_values, standin
from spikefold.hardware.speck.limits import NUMBERS, violations
from spikefold.hardware.speck.lowering.configuration import write
from spikefold.hardware.speck.lowering.notes import forward_limits, notes, wiring
from spikefold.hardware.speck.neuron_support import (
    KNOWN_RESET,
    NO_CURRENT,
    NO_LEAK,
    ONE_THRESHOLD,
    WHOLE_UNIT,
)
from spikefold.hardware.speck.placement import check_placement, place

DEVICE = "speck2fdevkit"
NEURONS = NeuronSupport(
    "sinabs",
    {
        "threshold": ONE_THRESHOLD,
        "fire": CARRIED,
        "reset": KNOWN_RESET,
        # other than 0 with a reset to a value alone
        "reset_value": CARRIED,
        "leak": NO_LEAK,
        "v_min": CARRIED,
        # spike functions of sinabs have it
        "max_spikes": CARRIED,
        # without a leak it says nothing
        "order": CARRIED,
        "state_shift": WHOLE_UNIT,
        # what leaves a width is decided with the overflow
        "state_bits": Refused("give sinabs the real network: it sets a width of its own", rule="width of the state"),
        "overflow": CARRIED,
        "current": NO_CURRENT,
    },
)
"""What sinabs' spiking layers are told of a real network's neurons."""
SAMNA_FILE = "samna.json"


@dataclass(frozen=True, eq=False)
class Discretised:
    """A network as sinabs discretised it, on no core yet.

    Attributes:
        network: sinabs' ``DynapcnnNetwork``; never run (`sinabs_runner` runs a copy), so its states are fresh.
            `name_of` tells which of its layers is which of ours.
        layers: the spiking layers, in our order.
        scales: how our own quantiser scaled each layer.
        input_shape: ``(C, H, W)`` of a frame.
    """

    network: Any
    layers: tuple[str, ...]
    scales: tuple[LayerScale, ...]
    input_shape: Shape


@dataclass(frozen=True, eq=False)
class SpeckModel(Discretised):
    """A network on Speck as sinabs sees it.

    Attributes:
        samna_configuration: what ``make_config`` gave: samna's own object, or the stand-in's.
        layer2core: core number by spiking layer, in order.
        notes: what the chip does otherwise than the clocked simulation.
        device: the device type, by sinabs' name.
    """

    samna_configuration: Any
    layer2core: Mapping[str, int]
    notes: tuple[str, ...]
    device: str = DEVICE

    def configuration(self) -> dict[str, Any]:
        """The configuration as plain values, under the names of samna's attributes.

        The chip's convention is ``[f][c][x][y]``: the last two axes of weights and states are exchanged against
        torch. `spikefold.hardware.speck.board.samna_standin.fill` writes it into a configuration of the real samna.
        """
        return as_values(self.samna_configuration, SpeckConfiguration)

    def write(self, path: Path) -> tuple[Path, ...]:
        """Write `configuration.write`'s document.

        Made where the real samna is installed, samna's own text lies beside it as ``samna.json``, for its
        ``from_json``; that layout is samna's and not public.

        Returns:
            The files written, each in one step.
        """
        write(path, self.configuration(), self.layer2core, self.input_shape, self.notes, self.device)
        if (own := samna_json(self.samna_configuration)) is None:
            return (path,)
        beside = path.with_name(SAMNA_FILE)
        with replacing(beside) as scratch:
            scratch.write_text(own, encoding="utf-8")
        return path, beside


def samna_json(configuration: Any) -> str | None:
    """The text that samna itself writes and its ``from_json`` reads; None for a configuration of the stand-in."""
    return None if isinstance(configuration, SpeckConfiguration) else str(configuration.to_json())


def discretised(network: Network) -> Discretised:
    """Discretise a folded real network with sinabs, for its forward alone.

    Limits of memory, of maps and of the number of cores do not matter here: a network whose layers must be split
    over cores has the same spikes before it is split.

    Args:
        network: real; conv or dense layers, spiking layers and sum pools, in a chain or with residual sums.

    Raises:
        UnsupportedError: with everything that sinabs' forward would get wrong.
    """
    _refuse([*forward_limits(network), *wiring(network)], "sinabs")
    refuse(network, NEURONS)
    return _discretised(network, quantise(network, NUMBERS)[1])


def convert(network: Network, device: str = DEVICE, placement: Mapping[str, int] | None = None) -> SpeckModel:
    """Discretise a folded real network with sinabs, place it, and have sinabs make the configuration.

    Args:
        network: as for `discretised`.
        device: ``speck2fdevkit`` or ``speck2edevkit``: whose configuration sinabs fills in.
        placement: core number by spiking layer; `placement.place` finds the best one by default.

    Raises:
        UnsupportedError: with every rule that the network or the placement breaks; where the layers have no place
            as they are, with those that compete and the change that would give them places. Where that change is to
            split layers over two cores, `discretised` still simulates, and `configuration` writes the file.
    """
    chip = device.removesuffix("devkit")
    _refuse([*violations(network), *wiring(network)], chip)
    refuse(network, NEURONS)
    integer, scales = quantise(network, NUMBERS)
    _refuse(violations(integer), chip)
    cores = place(integer).cores if placement is None else placement
    _refuse(check_placement(integer, cores), chip)
    made = _discretised(network, scales)
    return SpeckModel(
        made.network,
        made.layers,
        scales,
        made.input_shape,
        samna_configuration=_configuration(made.network, device, cores),
        layer2core={name: cores[name] for name in made.layers},
        notes=tuple(notes(integer)),
        device=device,
    )


def _discretised(network: Network, scales: tuple[LayerScale, ...]) -> Discretised:
    # sinabs draws a random probe input in torch's default type, and reports by printing
    with torch.random.fork_rng(devices=[]), _default_dtype(torch.float64), redirect_stdout(io.StringIO()):
        modules = _Wired(network, {scale.layer: scale.scale for scale in scales}).double()
        made = _dynapcnn_network()(modules, input_shape=network.input.shape, batch_size=1, discretize=True)
    # exact sums: float32 holds whole numbers to 2^24 only, and its convolutions may be Winograd's
    made.double()
    return Discretised(made, tuple(layer.name for layer in network.neurons), scales, network.input.shape)


def _configuration(made: Any, device: str, cores: Mapping[str, int]) -> Any:
    by_index = {index: cores[name_of(layer)] for index, layer in made.dynapcnn_layers.items()}
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            return made.make_config(layer2core_map=by_index, device=device)
    except ValueError as error:
        # every rule we know holds; the real samna, whose rules are compiled, has the last word
        raise UnsupportedError(
            f"samna refuses the configuration: {said.getvalue().strip() or error}",
            where=device,
            hint="a rule of samna that is not public: change the layer it names, and report it",
        ) from error


class _Spikes:
    """A sinabs spike function whose spikes are float64; sinabs' own are float32, which no float64 layer takes.

    It carries the name of its layer: sinabs renumbers the layers, and of the copies it makes only this is ours.
    """

    def __init__(self, inner: Any, name: str) -> None:
        self.inner, self.name, self.required_states = inner, name, inner.required_states

    def apply(self, *state: Any) -> torch.Tensor:
        spikes: torch.Tensor = self.inner.apply(*state).double()
        return spikes


def name_of(layer: Any) -> str:
    """Our name for the spiking part of one of sinabs' ``dynapcnn_layers``."""
    return str(layer.spk_layer.spike_fn.name)


class _Wired(nn.Module):
    """The network as sinabs' modules, wired as it is; a layer that reads two has a ``Merge`` before it."""

    def __init__(self, network: Network, scales: Mapping[str, float]) -> None:
        super().__init__()
        self.parts = nn.ModuleList()
        self.steps: list[tuple[str, tuple[str, ...], list[nn.Module]]] = []
        flat: dict[str, bool] = {INPUT: False}
        for layer in network:
            first = layer.inputs[0]
            modules: list[nn.Module] = [sl.Merge()] if len(layer.inputs) > 1 else []
            if isinstance(layer.op, Dense) and not flat[first]:
                # a Flatten that changes nothing makes a cycle for sinabs' tracer
                modules.append(nn.Flatten())
            if isinstance(layer, SpikingLayer):
                modules.append(_spiking(layer.neuron, scales[first], layer.name))
            elif isinstance(layer.op, Conv2d | Dense):
                modules.append(_weights(layer.op))
            elif isinstance(layer.op, SumPool2d) and layer.op.kernel != (1, 1):
                modules.append(sl.SumPool2d(layer.op.kernel))
            flat[layer.name] = isinstance(layer.op, Dense) or (flat[first] and not isinstance(layer.op, Conv2d))
            self.parts.extend(modules)
            self.steps.append((layer.name, layer.inputs, modules))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        values = {INPUT: frames}
        for name, inputs, modules in self.steps:
            read: Sequence[torch.Tensor] = [values[source] for source in inputs]
            for module in modules:
                read = [module(*read)]
            values[name] = read[0]
        return values[self.steps[-1][0]]


def _weights(op: Conv2d | Dense) -> nn.Module:
    module: nn.Conv2d | nn.Linear
    if isinstance(op, Conv2d):
        f, c, height, width = op.weight.shape
        module = nn.Conv2d(c, f, (height, width), op.stride, op.padding, bias=op.bias is not None)
    else:
        module = nn.Linear(op.weight.shape[1], op.weight.shape[0], bias=op.bias is not None)
    module.weight.data = torch.tensor(op.weight)
    if op.bias is not None and module.bias is not None:
        module.bias.data = torch.tensor(op.bias)
    return module


def _spiking(neuron: Neuron, scale: float, name: str) -> nn.Module:
    kinds = {None: MultiSpike, 1: SingleSpike}
    # never without a lower bound: sinabs then takes -32768 for a real value, its scale becomes 1 and small weights
    # vanish
    low = (NUMBERS.v_min or 0) / scale
    layer: nn.Module = sl.IAFSqueeze(
        num_timesteps=1,
        # sinabs makes float32 of plain numbers
        spike_threshold=torch.tensor(_threshold(neuron, scale), dtype=torch.float64),
        spike_fn=_Spikes(kinds.get(neuron.max_spikes) or MaxSpike(neuron.max_spikes), name),
        reset_fn=MembraneReset() if neuron.reset is Reset.ZERO else MembraneSubtract(),
        min_v_mem=torch.tensor(low if neuron.v_min is None else max(low, neuron.v_min), dtype=torch.float64),
    )
    return layer


def _threshold(neuron: Neuron, scale: float) -> float:
    """The real threshold; for a neuron that fires above it only, the one that sinabs rounds to a unit more."""
    theta = float(neuron.threshold)
    return (float(np.rint(theta * scale)) + 1) / scale if raised(neuron) else theta


def _dynapcnn_network() -> Callable[..., Any]:
    try:
        with standin():
            from sinabs.backend.dynapcnn import DynapcnnNetwork
    except (ImportError, OSError, subprocess.CalledProcessError) as error:
        raise EnvironmentLacksError(
            f"sinabs' Speck part does not load: {error}",
            where="sinabs.backend.dynapcnn",
            hint="repair the samna installation, or remove it: it is not needed for a conversion",
        ) from error
    made: Callable[..., Any] = DynapcnnNetwork
    return made


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _refuse(issues: list[Issue], chip: str) -> None:
    if issues:
        raise UnsupportedError(f"the network does not fit {chip.capitalize()}", where=chip, issues=issues)
