# SPDX-License-Identifier: Apache-2.0
"""``spikefold.profile``: exact counts of a running PyTorch network, and their energy under technology profiles.

Counts are of `profile`. Energy is the arithmetic alone: a synapse with binary input is an AC for each event, with any
other input a MAC for each pair; element-wise products and sums (gates, scaling, residuals) are MACs and ACs of their
own. No memory, no leakage, no bias, no neuron update; what no rule covers is named in ``coverage``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np
import torch
from torch import nn

from spikefold.energy.live.profile_result import LayerProfile, Profile
from spikefold.energy.live.profiler import profile as counted
from spikefold.energy.live.spiking import to_rest
from spikefold.energy.prices.load import load_profile, refuse_mixing
from spikefold.errors import ConfigError, DataError

PROFILES = ("horowitz45-fp32", "horowitz45-int8", "jouppi7-fp32", "jouppi7-int8")
"""Shown by default: two processes, and the precisions of a GPU and of a chip."""
_UJ = 1e-6
"""Microjoules of a picojoule."""


@dataclass(frozen=True)
class LayerEstimate:
    """Operations of one row over all data: synapses and element-wise arithmetic."""

    name: str
    mac: int
    ac: int
    elementwise_mac: int
    elementwise_ac: int


@dataclass(frozen=True)
class EnergyEstimate:
    """Energy of a clip under one technology profile, in microjoules; low and high are the ends of its constants."""

    profile: str
    title: str
    synapses_uj: float
    elementwise_uj: float
    low_uj: float
    high_uj: float

    @property
    def total_uj(self) -> float:
        """Synapses and element-wise arithmetic."""
        return self.synapses_uj + self.elementwise_uj


@dataclass(frozen=True)
class PricedProfile:
    """What a network does on data, and what that costs.

    Attributes:
        counts: exact, a row a layer.
        rows: operations of each row that has any.
        energies: one entry a technology profile.
    """

    counts: Profile
    rows: tuple[LayerEstimate, ...]
    energies: tuple[EnergyEstimate, ...]

    def energy(self, profile: str) -> EnergyEstimate:
        """The estimate under one of the profiles that were asked for.

        Raises:
            ConfigError: it was not asked for.
        """
        for one in self.energies:
            if one.profile == profile:
                return one
        names = ", ".join(one.profile for one in self.energies)
        raise ConfigError(f"not priced with {profile!r}", where="energy(profile)", hint=f"priced: {names}")

    def summary(self) -> str:
        """The table of the counts, and a line for each technology profile."""
        lines = [self.counts.summary()]
        lines += [
            f"{one.profile}: {one.total_uj:,.4g} uJ a clip ({one.low_uj:,.4g} to {one.high_uj:,.4g}), of it "
            f"element-wise {one.elementwise_uj:,.4g}; arithmetic alone, an estimate"
            for one in self.energies
        ]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "counts": self.counts.to_json(),
            "rows": [asdict(row) for row in self.rows],
            "energies": [asdict(one) | {"total_uj": one.total_uj} for one in self.energies],
        }

    def _repr_html_(self) -> str:
        """Operations a clip by layer, and energies a clip, for a notebook."""
        clips = self.counts.clips
        rows = "".join(
            f"<tr><td style='text-align:left'>{escape(row.name)}</td>"
            + "".join(
                f"<td>{value / clips:,.0f}</td>"
                for value in (row.mac, row.ac, row.elementwise_mac, row.elementwise_ac)
            )
            + "</tr>"
            for row in self.rows
        )
        costs = "".join(
            f"<tr><td style='text-align:left'>{escape(one.profile)}</td><td>{one.total_uj:,.4g}</td>"
            f"<td>{one.low_uj:,.4g} to {one.high_uj:,.4g}</td></tr>"
            for one in self.energies
        )
        return (
            f"<table><caption>Operations a clip, {clips} clips</caption><thead><tr><th>layer</th><th>MAC</th>"
            f"<th>AC</th><th>element-wise MAC</th><th>element-wise AC</th></tr></thead><tbody>{rows}</tbody></table>"
            f"<table><caption>Estimated energy, arithmetic alone</caption><thead><tr><th>technology profile</th>"
            f"<th>uJ a clip</th><th>low to high</th></tr></thead><tbody>{costs}</tbody></table>"
            f"<p>{escape(self.counts.coverage)}</p>"
        )


def priced_profile(
    model: nn.Module,
    frames: torch.Tensor | np.ndarray | Iterable[object],
    *,
    profiles: Sequence[str] = PROFILES,
    layout: str = "TN",
    is_spiking: Callable[[nn.Module], bool] | None = None,
    call: Callable[[nn.Module, torch.Tensor], object] | None = None,
    reset: Callable[[nn.Module], None] | None = to_rest,
) -> PricedProfile:
    """Count a PyTorch network over all data, and price it; the model is left as it was.

    Args:
        model: a network of SpikingJelly, snnTorch, sinabs, norse or plain PyTorch.
        frames: one batch ``(T, N, C, H, W)``, or batches as for `spikefold.energy.profile`.
        profiles: technology profiles by name, or ``FILE.toml``; `spikefold energy profiles` lists them.
        layout: the first axes of a batch, ``TN``, ``NT`` or ``N``.
        is_spiking: which modules spike, besides those of the libraries.
        call: how to run one batch, ``model(x)`` if None.
        reset: run before each batch; None keeps the neurons' state.

    Raises:
        ConfigError: an unknown layout or profile, or one whose prices nobody knows.
        DataError: frames that the network does not run on, in words.
        UnsupportedError: as `spikefold.energy.profile`.
    """
    loaded = [load_profile(name) for name in profiles]
    data = torch.from_numpy(frames) if isinstance(frames, np.ndarray) else frames
    if isinstance(data, torch.Tensor):
        data = _in_precision(model, data)
    try:
        counts = counted(model, data, layout=layout, is_spiking=is_spiking, call=call, reset=reset)
    except RuntimeError as error:
        # PyTorch tells a wrong shape by a RuntimeError; memory that is lacking too, and that is the system's to say
        if isinstance(error, torch.OutOfMemoryError) or not isinstance(data, torch.Tensor):
            raise
        raise DataError(
            f"the network does not run on frames of shape {tuple(data.shape)}: {_first_line(error)}",
            where="profile(model, frames)",
            hint=f"frames are {_axes(layout)}{_wanted(model)}",
        ) from error
    rows = tuple(
        row for row in map(_row, counts.layers) if row.mac + row.ac + row.elementwise_mac + row.elementwise_ac
    )
    return PricedProfile(counts, rows, tuple(_estimate(one, rows, counts.clips) for one in loaded))


def _in_precision(model: nn.Module, data: torch.Tensor) -> torch.Tensor:
    """Counts of events are whole numbers; the weights decide in which precision they go in."""
    weights = next((one for one in model.parameters() if one.is_floating_point()), None)
    if weights is None or data.is_floating_point():
        return data
    return data.to(weights.dtype)


def _first_line(error: RuntimeError) -> str:
    return str(error).strip().split("\n")[0]


def _axes(layout: str) -> str:
    axes = {"T": "steps", "N": "clips"}
    return (
        f"({', '.join([axes[one] for one in layout])}, and the shape of one frame, such as channels, rows, columns)"
    )


def _wanted(model: nn.Module) -> str:
    """What the first layer with weights reads, and whether the network takes one step a call."""
    if any(getattr(module, "step_mode", None) == "s" for module in model.modules()):
        how = "functional.set_step_mode(model, 'm'), or give call= with a loop over the steps"
        return f"; it takes one step a call: {how}"
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            return f"; {name or 'the network'} reads {module.in_channels} channels"
        if isinstance(module, nn.Linear):
            return f"; {name or 'the network'} reads {module.in_features} values"
    return ""


def _row(layer: LayerProfile) -> LayerEstimate:
    binary = layer.input_kind == "binary"
    mac, ac = (0, layer.events) if binary else (layer.pairs, 0)
    return LayerEstimate(layer.name, mac, ac, layer.multiplies, layer.adds)


def _estimate(profile: Any, rows: Sequence[LayerEstimate], clips: int) -> EnergyEstimate:
    mac, ac = profile.energy_pj.mac, profile.energy_pj.ac
    synapses = sum(row.mac for row in rows) / clips, sum(row.ac for row in rows) / clips
    elementwise = sum(row.elementwise_mac for row in rows) / clips, sum(row.elementwise_ac for row in rows) / clips
    used = [price for price, one, two in zip((mac, ac), synapses, elementwise, strict=True) if one + two]
    refuse_mixing(used)

    def cost(counts: tuple[float, float], end: Callable[[Any], float]) -> float:
        return sum(number * end(price) for number, price in zip(counts, (mac, ac), strict=True) if number) * _UJ

    low, high = (
        sum(cost(counts, lambda price, end=end: price.bounds[end]) for counts in (synapses, elementwise))  # type: ignore[misc]
        for end in (0, 1)
    )
    return EnergyEstimate(
        profile.name,
        profile.title,
        cost(synapses, lambda price: price.amount),
        cost(elementwise, lambda price: price.amount),
        low,
        high,
    )
