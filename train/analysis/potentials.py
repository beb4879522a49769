# SPDX-License-Identifier: Apache-2.0
"""Measures the membrane potential distributions (MPD) of a layer as histograms, and the paper's numbers about them.

Two quantities are kept separately, because the paper and its published code differ: the potential ``U`` that a neuron
compares with its threshold (the paper), and the current ``I`` that enters it, which the code saves as "mp"
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
"""Histograms reach from -SPAN to SPAN thresholds; values outside are counted as below or above."""
BINS_PER_THRESHOLD = 20
BINS = 2 * SPAN * BINS_PER_THRESHOLD
"""The threshold is an edge of a bin, so that the bins from there on hold as many potentials as there are spikes."""
_HIGHEST = 3


@dataclass(frozen=True, eq=False)
class LayerPotentials:
    """The potentials and currents of a layer over a set of clips.

    Attributes:
        threshold: the threshold of the layer's neurons, rounded to float32.
        potential: a histogram of U for each step and channel, ``(T, C, BINS + 2)`` int64; the first column counts
            values below the bins, the last one values above.
        current: a histogram of I of the same form.
        squares: the sum of ``(U - S)^2`` over clips and neurons, ``(T, C)`` float64, with S the spike.
    """

    threshold: float
    potential: np.ndarray
    current: np.ndarray
    squares: np.ndarray

    def qe(self, chosen: np.ndarray | None = None) -> float | None:
        """QE, the quantisation error: the mean of ``(U - S)^2`` over the ``chosen`` steps and channels ``(T, C)``.

        It is None where nothing is chosen. Source: the paper's Table 4. S is 0 or 1 for every threshold, so the
        errors of networks with different thresholds cannot be compared.
        """
        chosen = np.ones(self.squares.shape, bool) if chosen is None else chosen
        values = int(self.potential[chosen].sum())
        return float(self.squares[chosen].sum()) / values if values else None


def fire(node: neuron.BaseNode, current: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Run a layer of neurons over all steps from its initial state, and restore that state.

    SpikingJelly keeps only the potential after the reset. The potential before the reset is computed by the node's
    own arithmetic once more: all steps at once, from the states that the run had between the steps, in a copy of the
    node whose threshold is never reached.

    Args:
        node: IF, LIF, PLIF or another neuron whose step depends only on its last potential and its input.
        current: the input currents ``(T, N, ...)``.

    Returns:
        The spikes and the potentials U that decided them, both with the shape of ``current``.

    Raises:
        DataError: a potential is not a finite number.
        SpikefoldError: the potentials do not explain the spikes, because the neuron has more state than a potential.
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
    silent.store_v_seq = True  # SpikingJelly computes differently in a node that stores, and the run above stored
    silent.v = torch.cat([first, after[:-1]]).flatten(0, 1)
    silent(current.flatten(0, 1)[None])
    potential = silent.v.reshape(current.shape)
    if not torch.isfinite(potential).all():
        raise DataError("a potential is no finite number", hint="the training diverged; a smaller train.lr")
    if not torch.equal(potential - node.v_threshold >= 0, spikes > 0):
        raise SpikefoldError(f"the potentials of {type(node).__name__} do not explain its spikes")
    return spikes, potential


def binned(values: torch.Tensor, threshold: float) -> np.ndarray:
    """The histograms ``(T, C, BINS + 2)`` int64 of the values ``(T, N, C, H, W)`` of each step and channel."""
    channels = values.shape[2]
    row = torch.arange(channels, device=values.device)[:, None, None] * (BINS + 2)
    counts = []
    for step in values:  # one step at a time, because the positions take five times the memory of the values
        position = (step.double() / threshold + SPAN) * BINS_PER_THRESHOLD
        column = position.floor_().clamp_(-1, BINS).long() + 1
        counts.append(torch.bincount((row + column).flatten(), minlength=channels * (BINS + 2)))
    return np.asarray(torch.stack(counts).view(len(values), channels, BINS + 2).cpu().numpy())


def centres(threshold: float) -> np.ndarray:
    """The centre of each bin, ``(BINS,)``, in the unit of the potential."""
    return np.asarray(((np.arange(BINS) + 0.5) / BINS_PER_THRESHOLD - SPAN) * threshold)


def ptd(histogram: np.ndarray, threshold: float) -> float | None:
    """PTD, the peak-to-threshold distance of a histogram ``(BINS + 2,)``: its peak less the threshold.

    The peak is the mean of the centres of the three highest bins (source: the paper). Of equally high bins the lower
    ones count, and empty bins never do. The result is None where no value lies within the bins.
    """
    inside = histogram[1:-1]
    filled = np.flatnonzero(inside)
    highest = filled[np.argsort(-inside[filled], kind="stable")[:_HIGHEST]]
    return float(centres(threshold)[highest].mean() - threshold) if len(highest) else None
