# SPDX-License-Identifier: Apache-2.0
"""Measures where the spikes of a trained network are redundant, in one pass over the clips.

The quantities are those of "Inherent Redundancy in Spiking Neural Networks" (ICCV 2023): firing rates
(`firing_rates`), spike features and their kinds (`features`, `background`) and membrane potentials (`potentials`).
Counts are whole numbers. The layers are those of neurons, also inside residual blocks, whose branches are named like
``block1a.main.sn1`` and ``block2a.shortcut.sn``. A max pool only forwards spikes and is no layer here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

from spikefold.errors import SpikefoldError
from spikefold.train.analysis.background import foreground, seen_through
from spikefold.train.analysis.features import Background, Rules
from spikefold.train.analysis.firing_rates import FiringRates, LayerFiring
from spikefold.train.analysis.potentials import LayerPotentials, binned, fire
from spikefold.train.evaluate import batches
from spikefold.train.models.sew import SewBlock
from spikefold.train.models.spiking_net import SpikingNet, channels_last

Progress = Callable[[int, int], None]
_AT_ONCE = 4


@dataclass(frozen=True, eq=False)
class LayerAnalysis:
    """The measurements of one spiking layer.

    Attributes:
        firing: the spikes.
        potentials: the membrane potentials and the input currents.
        background: the part of the spikes on the background; None for a dense layer, which has no maps.
    """

    firing: LayerFiring
    potentials: LayerPotentials
    background: Background | None


@dataclass(frozen=True, eq=False)
class Analysis:
    """The measurements of one network over a set of clips.

    Attributes:
        layers: the spiking layers by name.
        rules: the numbers by which the background was found.
    """

    layers: Mapping[str, LayerAnalysis]
    rules: Rules

    @property
    def rates(self) -> FiringRates:
        """The firing rates of all layers."""
        return FiringRates({name: layer.firing for name, layer in self.layers.items()})

    @property
    def maps(self) -> dict[str, LayerAnalysis]:
        """The layers that have maps."""
        return {name: layer for name, layer in self.layers.items() if layer.background is not None}


@torch.no_grad()
def analyse(
    model: SpikingNet,
    frames: np.ndarray,
    rules: Rules | None = None,
    batch: int | None = None,
    progress: Progress = lambda done, of: None,
) -> Analysis:
    """Run a network over clips ``(T, N, C, H, W)``, each from zero state, in evaluation mode.

    Args:
        model: the network; its state is reset before and afterwards.
        frames: the event counts of the clips.
        rules: what counts as background and as which kind of feature; None for the defaults of `Rules`.
        batch: the number of clips that are run at once. It only changes the memory that is needed (measured: 0.33 GB
            a clip for the paper's network A), but must be given for a network whose clips share masks.
        progress: called with the number of finished clips and the number of all clips.

    Raises:
        SpikefoldError: there is no clip; see also `batches`.
        DataError: a potential is not a finite number.
    """
    rules = rules or Rules()
    clips = frames.shape[1]
    if not clips or (batch is not None and batch < 1):
        raise SpikefoldError(f"{clips} clips in batches of {batch} are nothing to analyse")
    parts = batches(model, clips, batch, usual=_AT_ONCE)
    model.eval()
    functional.reset_net(model)
    sums: dict[str, _Sums] = {}
    for part in parts:
        x = torch.from_numpy(frames[:, part].astype(np.float32))
        x = x.to(next(model.parameters()).device)
        pixels = foreground(x, rules.background)
        # channels last, as the model itself computes, because sums in another order are rounded differently
        _through(model.layers, "", channels_last(x), pixels, sums)
        progress(min(part.stop, clips), clips)
    functional.reset_net(model)
    return Analysis({name: total.result(clips) for name, total in sums.items()}, rules)


def _through(
    modules: nn.Module, prefix: str, x: torch.Tensor, pixels: torch.Tensor, sums: dict[str, _Sums]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run modules one after the other, add up the measurements of neurons; output and foreground of the last one."""
    for child, module in modules.named_children():
        name = prefix + child
        if isinstance(module, neuron.BaseNode):
            current = x
            x, potential = fire(module, current)
            sums.setdefault(name, _Sums(module)).add(current, potential, x, pixels)
        elif isinstance(module, SewBlock):
            main, seen = _through(module.main, f"{name}.main.", x, pixels, sums)
            shortcut, too = _through(module.shortcut, f"{name}.shortcut.", x, pixels, sums)
            # a neuron behind the sum sees what either branch sees
            x, pixels = torch.add(main, shortcut), torch.maximum(seen, too)
        else:
            x, pixels = module(x), seen_through(module, pixels)
    return x, pixels


class _Sums:
    """The running sums of one layer over the batches."""

    def __init__(self, node: neuron.BaseNode) -> None:
        self.threshold = float(np.float32(node.v_threshold))  # what the node compares float32 potentials with
        self.fired = self.potential = self.current = self.behind = np.zeros((), np.int64)
        self.squares = np.zeros(())
        self.sites = 0
        self.has_maps = False

    def add(self, current: torch.Tensor, potential: torch.Tensor, spikes: torch.Tensor, pixels: torch.Tensor) -> None:
        self.has_maps = spikes.ndim == 5
        if self.has_maps and pixels.shape[2:] != spikes.shape[3:]:
            raise SpikefoldError(f"maps of {tuple(spikes.shape[3:])}, but receptive fields of {pixels.shape[2:]}")
        current, potential, spikes = (
            x if self.has_maps else x[..., None, None] for x in (current, potential, spikes)
        )
        # float64 holds these sums of 0 and 1 exactly
        self.fired = self.fired + _whole(spikes.sum(dim=1, dtype=torch.float64))
        self.potential = self.potential + binned(potential, self.threshold)
        self.current = self.current + binned(current, self.threshold)
        self.squares = self.squares + (potential - spikes).double().square_().sum(dim=(1, 3, 4)).cpu().numpy()
        if self.has_maps:
            background = 1 - pixels
            self.behind = self.behind + _whole((spikes * background).sum(dim=(1, 3, 4), dtype=torch.float64))
            self.sites += int(background.sum(dtype=torch.float64))

    def result(self, clips: int) -> LayerAnalysis:
        potentials = LayerPotentials(self.threshold, self.potential, self.current, self.squares)
        background = Background(self.sites, self.behind) if self.has_maps else None
        return LayerAnalysis(LayerFiring(self.fired, clips), potentials, background)


def _whole(values: torch.Tensor) -> np.ndarray:
    return np.asarray(values.cpu().numpy().astype(np.int64))
