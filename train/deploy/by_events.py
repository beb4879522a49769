# SPDX-License-Identifier: Apache-2.0
"""Gives a chip's event-driven integer network a gradient, so that it can be trained as the chip runs it.

The forward pass is the engine of the chip's own contract: whole numbers, event by event, in the engine's order. The
backward pass knows nothing of that order. It sees each neuron's cumulative spike count ``N(b)`` at the ends of a few
bins ``b`` of the clip, and the cumulative drive ``D(b)``: its weights times the cumulative counts of its inputs,
over the threshold. A neuron that subtracts its threshold, and is never driven far below zero, has fired about as
often as the highest drive so far says, so the count counts as::

    N(b) ~ max(D(1), ..., D(b))       where that is above 0, or the neuron has fired; without a gradient elsewhere

The gradient of ``N(b)`` is therefore that of the drive at the one bin where it was highest. Cumulative counts of
layer after layer in place of a simulation in time: tandem learning (Wu et al., "A tandem learning rule for effective
training and rapid inference of deep spiking neural networks", IEEE TNNLS 2021). Rounding counts as the identity, as
in `integer_net`. Biases have no place here, because a slow clock adds them and no event does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from spikefold.compiled import compiled
from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import Network
from spikefold.export.neuron import Neuron
from spikefold.export.numbers import NumberFormat
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.event_engine import EventClips, EventEngine
from spikefold.hardware.simulators.trace import Trace
from spikefold.train.data.frames import Binning, cut
from spikefold.train.deploy.integer_net import Activity, IntegerNet

BINS = 4
"""Bins of a clip at whose ends the gradient sees the counts. Trained from scratch on N-MNIST for 20 epochs, one seed
each: with 4 bins .895 on held-out training recordings with 2,300 spikes a clip, with 1 bin .899 with 5,600."""


@dataclass(frozen=True, eq=False)
class Recorded:
    """A chip's event engine, and how recordings enter it.

    Attributes:
        engine: of the chip's contract.
        binning: of a clip, by time.
        seed: of the order of events that enter as frames; recordings that enter as they are need none.
    """

    engine: EventEngine
    binning: Binning
    seed: int

    def spikes(self, integer: Network, recordings: Sequence[np.ndarray], frames: np.ndarray) -> Trace:
        """The spikes of an integer network, event by event.

        Args:
            integer: as `quantise` makes it for the chip.
            recordings: the events of each clip, sorted by time.
            frames: what `frames` gives of them.
        """
        binning = self.binning
        clips = EventClips(
            frames,
            np.zeros(len(recordings), np.int64),
            lambda: recordings,
            binning.sensor,
            binning.downsample,
            self.seed,
            spikes_only=True,
        )
        return self.engine(integer, clips).trace

    def frames(self, recordings: Sequence[np.ndarray]) -> np.ndarray:
        """The counts ``(T, N, C, H, W)`` of all events that enter; the chip leaves out none of a crowded bin."""
        every = replace(self.binning, max_count=int(np.iinfo(np.uint16).max))
        return np.stack([cut(events, every) for events in recordings], axis=1)


class EventNet(nn.Module):
    """A real network that computes as its chip will, event by event, and can be trained.

    Args:
        network: a real, folded network without biases that `quantise` accepts.
        chip: the number format of the chip.
        recorded: the chip's event engine.

    Attributes:
        integers: holds the real weights, and rounds them as `quantise` does.

    Raises:
        UnsupportedError: a layer has a bias; `quantise` would refuse the network.
    """

    def __init__(self, network: Network, chip: NumberFormat, recorded: Recorded) -> None:
        super().__init__()
        issues = [
            Issue("no bias", layer.name, "a bias", "none", "leave it out first")
            for layer in network.weights
            if layer.op.bias is not None
        ]
        if issues:
            raise UnsupportedError("training by events has no rule for a bias", issues=issues)
        self.integers, self.chip, self.recorded = IntegerNet(network, chip), chip, recorded

    def to_network(self) -> Network:
        """The real network with the present weights."""
        return self.integers.to_network()

    def forward(self, recordings: Sequence[np.ndarray]) -> Activity:
        """Run the events of each clip.

        Returns:
            As of `IntegerNet`, but with cumulative counts at the ends of bins in place of the steps T; the spikes
            are those of the chip, every one.
        """
        frames = self.recorded.frames(recordings)
        trace = self.recorded.spikes(quantise(self.to_network(), self.chip)[0], recordings, frames)

        def fire(name: str, neuron: Neuron, drive: torch.Tensor) -> torch.Tensor:
            counts = torch.from_numpy(cumulative(trace.layers[name].raster))
            found: torch.Tensor = _Counted.apply(drive / float(neuron.threshold), counts)
            return found

        activity: Activity = self.integers(torch.from_numpy(cumulative(frames)), fire=fire)
        return activity


def cumulative(raster: np.ndarray) -> np.ndarray:
    """Counts since the start of the clip at the ends of `BINS` bins, ``(BINS, N, ...)`` float32.

    Args:
        raster: counts a step, ``(T, N, ...)``; with fewer steps than bins, every step is a bin.
    """
    steps = len(raster)
    bins = min(BINS, steps)
    found, total = np.empty((bins, *raster.shape[1:]), np.float32), np.zeros(raster.shape[1:], np.int64)
    step = 0
    for number in range(bins):
        end = (number + 1) * steps // bins
        for counts in raster[step:end]:
            total += counts
        found[number], step = total, end
    return found


class _Counted(torch.autograd.Function):
    """Cumulative counts as the engine found them, with the gradient of the highest drive so far."""

    @staticmethod
    def forward(ctx: Any, drive: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(drive.contiguous(), counts)
        return counts.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (gradient,), found = gradients, torch.zeros_like(ctx.saved_tensors[0])
        drive, counts, passing, where = (
            array.numpy().reshape(len(array), -1) for array in (*ctx.saved_tensors, gradient.contiguous(), found)
        )
        _to_the_highest(drive, counts, passing, where)
        return found, None


@compiled()
def _to_the_highest(drive: np.ndarray, counts: np.ndarray, gradient: np.ndarray, found: np.ndarray) -> None:
    """Add the gradient of each count, where it passes, to that of the highest drive so far; all ``(BINS, M)``.

    Of drives that are equal the last is the highest, as in `torch.cummax`.
    """
    bins, neurons = drive.shape
    for neuron in range(neurons):
        highest = 0
        for number in range(bins):
            if drive[number, neuron] >= drive[highest, neuron]:
                highest = number
            if drive[highest, neuron] > 0 or counts[number, neuron] > 0:
                found[highest, neuron] += gradient[number, neuron]
