# SPDX-License-Identifier: Apache-2.0
"""A folded real network to Speck2f or Speck2e through sinabs 3.1: discretisation, placement, configuration.

The only file that imports sinabs. samna is not needed (`spikefold.hardware.samna_standin`), and its PyPI stub is
never run. sinabs computes in float32 by default and adds a lower bound of its own; here every module is float64 and
the lower bound is the chip's, so that its common scale and its rounding are those of `passes.quantise`, bit for bit.
`spikefold.export.speck_check.differences` holds the two against each other.
"""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sinabs.layers as sl
import torch
from sinabs.activation import MaxSpike, MembraneReset, MembraneSubtract, MultiSpike, SingleSpike
from torch import nn

from spikefold.errors import EnvironmentLacksError, Issue, UnsupportedError
from spikefold.export.network import Network
from spikefold.export.neuron import Neuron, Reset
from spikefold.export.ops import Conv2d, Dense, SumPool2d
from spikefold.export.passes.quantise import LayerScale, quantise
from spikefold.export.speck_notes import not_a_chain, notes, placement
from spikefold.files import replacing
from spikefold.hardware.samna_standin import SpeckConfiguration, as_values, standin
from spikefold.hardware.speck import NUMBERS, violations

FORMAT = "spikefold-speck-1"
DEVICE = "speck2fdevkit"


@dataclass(frozen=True, eq=False)
class SpeckModel:
    """A network on Speck2f as sinabs sees it.

    Attributes:
        network: sinabs' discretised ``DynapcnnNetwork``; never run (`speck_runner` runs a copy), so its states are
            fresh.
        samna_configuration: what ``make_config`` gave: samna's own object, or the stand-in's.
        layer2core: core number by spiking layer, in order.
        scales: how our own quantiser scaled each layer.
        input_shape: ``(C, H, W)`` of a frame.
        notes: what the chip does otherwise than the clocked simulation.
        device: the device type, by sinabs' name.
    """

    network: Any
    samna_configuration: Any
    layer2core: Mapping[str, int]
    scales: tuple[LayerScale, ...]
    input_shape: tuple[int, int, int]
    notes: tuple[str, ...]
    device: str = DEVICE

    def configuration(self) -> dict[str, Any]:
        """The configuration as plain values, under the names of samna's attributes.

        The chip's convention is ``[f][c][x][y]``: the last two axes of weights and states are exchanged against
        torch. `spikefold.hardware.samna_standin.fill` writes it into a configuration of the real samna.
        """
        return as_values(self.samna_configuration, SpeckConfiguration)

    def write(self, path: Path) -> None:
        """Write the JSON document ``{format, device, input_shape, layer2core, notes, configuration}`` in one step.

        It is made offline. Where the real samna is installed, ``fill(samna.speck2f.configuration
        .SpeckConfiguration(), document["configuration"])`` loads it; the text format of samna's own ``from_json``
        is not public, so this is not it.
        """
        document = {
            "format": FORMAT,
            "device": self.device,
            "input_shape": list(self.input_shape),
            "layer2core": dict(self.layer2core),
            "notes": list(self.notes),
            "configuration": self.configuration(),
        }
        with replacing(path) as scratch:
            scratch.write_text(json.dumps(document), encoding="utf-8")


def convert(network: Network, device: str = DEVICE) -> SpeckModel:
    """Discretise, place and configure a folded real network with sinabs.

    Args:
        network: real, a chain of conv or dense layers, spiking layers and sum pools.
        device: ``speck2fdevkit`` or ``speck2edevkit``: whose configuration sinabs fills in.

    Raises:
        UnsupportedError: with every rule that the network breaks; or, where each layer fits a core but not all of
            them at once, with the need of every layer and the cores that could take it.
    """
    chip = device.removesuffix("devkit")
    _refuse([*violations(network), *not_a_chain(network)], chip)
    integer, scales = quantise(network, NUMBERS)
    _refuse(violations(integer), chip)
    said = io.StringIO()
    # sinabs draws a random probe input in torch's default type, and reports by printing
    with torch.random.fork_rng(devices=[]), _default_dtype(torch.float64), redirect_stdout(said):
        modules = nn.Sequential(*_modules(network, {scale.layer: scale.scale for scale in scales})).double()
        try:
            made = _dynapcnn_network()(modules, input_shape=network.input.shape, batch_size=1, discretize=True)
            configuration = made.make_config(device=device)
        except ValueError as error:
            raise UnsupportedError(
                "sinabs cannot place the network on the nine cores",
                where=chip,
                hint="make a layer smaller that shares its cores with another, or split it by output channels",
                issues=placement(integer, f"{error} {said.getvalue()}".strip()),
            ) from error
    # exact sums: float32 holds whole numbers to 2^24 only, and its convolutions may be Winograd's
    made.double()
    names = [layer.name for layer in network.neurons]
    cores = {name: int(made.layer2core_map[index]) for index, name in enumerate(names)}
    return SpeckModel(made, configuration, cores, scales, network.input.shape, tuple(notes(integer)), device)


class _WideSpikes:
    """A sinabs spike function whose spikes are float64; sinabs' own are float32, which no float64 layer takes."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.required_states = inner, inner.required_states

    def apply(self, *state: Any) -> torch.Tensor:
        spikes: torch.Tensor = self.inner.apply(*state).double()
        return spikes


def _modules(network: Network, scales: Mapping[str, float]) -> Iterator[nn.Module]:
    scale, flat = float("nan"), False
    for layer in network:
        op = layer.op
        if isinstance(op, Conv2d):
            scale = scales[layer.name]
            yield _with_values(_conv(op), op)
        elif isinstance(op, Dense):
            scale = scales[layer.name]
            if not flat:  # a Flatten that changes nothing makes a cycle for sinabs' tracer
                yield nn.Flatten()
            flat = True
            yield _with_values(nn.Linear(op.weight.shape[1], op.weight.shape[0], bias=op.bias is not None), op)
        elif isinstance(op, Neuron):
            yield _spiking(op, scale)
        elif isinstance(op, SumPool2d) and op.kernel != (1, 1):
            yield sl.SumPool2d(op.kernel)


def _conv(op: Conv2d) -> nn.Conv2d:
    f, c, height, width = op.weight.shape
    return nn.Conv2d(c, f, (height, width), op.stride, op.padding, bias=op.bias is not None)


def _with_values(module: nn.Conv2d | nn.Linear, op: Conv2d | Dense) -> nn.Module:
    module.weight.data = torch.tensor(op.weight)
    if op.bias is not None and module.bias is not None:
        module.bias.data = torch.tensor(op.bias)
    return module


def _spiking(neuron: Neuron, scale: float) -> nn.Module:
    kinds = {None: MultiSpike, 1: SingleSpike}
    layer: nn.Module = sl.IAFSqueeze(
        num_timesteps=1,
        # sinabs makes float32 of plain numbers
        spike_threshold=torch.tensor(float(neuron.threshold), dtype=torch.float64),
        spike_fn=_WideSpikes(kinds.get(neuron.max_spikes) or MaxSpike(neuron.max_spikes)),
        reset_fn=MembraneReset() if neuron.reset is Reset.ZERO else MembraneSubtract(),
        # never None: sinabs then takes -32768 for a real value, its scale becomes 1 and small weights vanish
        min_v_mem=torch.tensor((NUMBERS.v_min or 0) / scale, dtype=torch.float64),
    )
    return layer


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
