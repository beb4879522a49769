# SPDX-License-Identifier: Apache-2.0
"""Membrane potential distributions (MPD) of a layer, as histograms, and what the paper reads off them.

Two quantities are kept apart because paper and published code differ: the potential ``U`` that a neuron compares with
its threshold (the paper), and the current ``I`` that enters it, which the code saves as "mp"
(BICLab/ASA-SNN, c68b2d0, ``collect_distribution.py``).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from spikingjelly.activation_based import neuron

from spikefold.errors import DataError, SpikefoldError

SPAN = 4
"""Histograms reach from -SPAN to SPAN thresholds; what lies outside is counted below and above."""
BINS_PER_THRESHOLD = 20
BINS = 2 * SPAN * BINS_PER_THRESHOLD
"""The threshold is an edge, so the bins from there on hold as many potentials as there are spikes."""
_HIGHEST = 3


@dataclass(frozen=True, eq=False)
class LayerPotentials:
    """Potentials and currents of a layer over a set of clips.

    Attributes:
        threshold: of the layer's neurons, as float32 holds it.
        potential: histogram of U for each step and channel, ``(T, C, BINS + 2)`` int64: below, the bins, above.
        current: histogram of I, likewise.
        squares: sum of ``(U - S)^2`` over clips and neurons, ``(T, C)`` float64.
    """

    threshold: float
    potential: np.ndarray
    current: np.ndarray
    squares: np.ndarray

    def qe(self, chosen: np.ndarray | None = None) -> float | None:
        """Quantisation error, the mean of ``(U - S)^2`` where ``chosen`` ``(T, C)``; None where nothing is.

        Source: the paper's Table 4. S is 0 or 1 whatever the threshold is, so networks with other thresholds have
        other errors.
        """
        chosen = np.ones(self.squares.shape, bool) if chosen is None else chosen
        values = int(self.potential[chosen].sum())
        return float(self.squares[chosen].sum()) / values if values else None


def fire(node: neuron.BaseNode, current: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Run a multi-step neuron from its initial state, which it is left in.

    SpikingJelly keeps the potential after the reset. The one before it is the node's own arithmetic once more: all
    steps at once, from the states that the run had between them, by a copy with a threshold that is never reached.

    Args:
        node: IF, LIF, PLIF or any other whose step depends on its last potential and its input alone.
        current: ``(T, N, ...)``.

    Returns:
        Spikes and the potential U that each was decided from, of the shape of ``current``.

    Raises:
        DataError: a potential that is no finite number.
        SpikefoldError: the potentials found do not explain the spikes; the neuron has more state than that.
    """
    node.reset()
    first = torch.full_like(current[:1], float(node.v))
    node.store_v_seq = True
    try:
        spikes, after = node(current), node.v_seq
    finally:
        node.store_v_seq = False
        node.reset()
    silent = copy.deepcopy(node)
    silent.v_threshold = torch.finfo(current.dtype).max
    silent.store_v_seq = True  # the run above took the path of a node that stores; so must this one
    silent.v = torch.cat([first, after[:-1]]).flatten(0, 1)
    silent(current.flatten(0, 1)[None])
    potential = silent.v.reshape(current.shape)
    if not torch.isfinite(potential).all():
        raise DataError("a potential is no finite number", hint="the training diverged; a smaller train.lr")
    if not torch.equal(potential - node.v_threshold >= 0, spikes > 0):
        raise SpikefoldError(f"the potentials of {type(node).__name__} do not explain its spikes")
    return spikes, potential


def binned(values: torch.Tensor, threshold: float) -> np.ndarray:
    """Histogram of each step and channel of ``(T, N, C, H, W)``: ``(T, C, BINS + 2)`` int64."""
    channels = values.shape[2]
    row = torch.arange(channels, device=values.device)[:, None, None] * (BINS + 2)
    counts = []
    for step in values:  # one step at a time, because positions take five times the memory of the values
        position = (step.double() / threshold + SPAN) * BINS_PER_THRESHOLD
        column = position.floor_().clamp_(-1, BINS).long() + 1
        counts.append(torch.bincount((row + column).flatten(), minlength=channels * (BINS + 2)))
    return np.asarray(torch.stack(counts).view(len(values), channels, BINS + 2).cpu().numpy())


def centres(threshold: float) -> np.ndarray:
    """Centre of each bin, ``(BINS,)``, in the unit of the potential."""
    return np.asarray(((np.arange(BINS) + 0.5) / BINS_PER_THRESHOLD - SPAN) * threshold)


def ptd(histogram: np.ndarray, threshold: float) -> float | None:
    """Peak-to-threshold distance of a histogram ``(BINS + 2,)``: where its peak is, less the threshold.

    The peak is the mean of the centres of the three highest bins (Source: the paper), the lower ones where some are
    equally high. Bins without any value are never among them; None where no value lies within the bins.
    """
    inside = histogram[1:-1]
    filled = np.flatnonzero(inside)
    highest = filled[np.argsort(-inside[filled], kind="stable")[:_HIGHEST]]
    return float(centres(threshold)[highest].mean() - threshold) if len(highest) else None
