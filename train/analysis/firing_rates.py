# SPDX-License-Identifier: Apache-2.0
"""Holds the firing rates of a network as whole numbers: in how many clips each neuron fired at each step.

Source: "Inherent Redundancy in Spiking Neural Networks" (ICCV 2023), Definitions 1 to 3; BICLab/ASA-SNN (c68b2d0),
``firing_num.py``: all spiking layers count, the dense ones and the output included, and all neurons count alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spikefold.errors import SpikefoldError


@dataclass(frozen=True, eq=False)
class LayerFiring:
    """The firing of one spiking layer over a set of clips.

    Attributes:
        fired: the number of clips in which each neuron fired at each step, ``(T, C, H, W)`` int64; dense layers have
            the shape ``(T, K, 1, 1)``.
        clips: the number of all clips.

    Raises:
        SpikefoldError: the counts are not whole numbers between 0 and the number of clips.
    """

    fired: np.ndarray
    clips: int

    def __post_init__(self) -> None:
        if self.fired.ndim != 4 or self.fired.dtype != np.int64 or not self.fired.size:
            raise SpikefoldError(f"firing counts are (T, C, H, W) int64, not {self.fired.shape} {self.fired.dtype}")
        if self.fired.min() < 0 or self.fired.max() > self.clips:
            raise SpikefoldError(f"a neuron fires at a step in 0 to {self.clips} clips")

    @property
    def neurons(self) -> int:
        """The number of neurons of the layer."""
        return int(np.prod(self.fired.shape[1:]))

    @property
    def spikes(self) -> int:
        """The number of all spikes; a neuron fires at most once a step."""
        return int(self.fired.sum())

    @property
    def n_sfr(self) -> np.ndarray:
        """N-SFR ``(T, C, H, W)``, the share of clips in which a neuron fires; ``[t, c]`` is a spike feature."""
        return np.asarray(self.fired / self.clips)

    @property
    def c_sfr(self) -> np.ndarray:
        """C-SFR, the mean of N-SFR over the neurons of each channel, ``(T, C)``."""
        return np.asarray(self.fired.sum(axis=(2, 3)) / (self.clips * self.fired.shape[2] * self.fired.shape[3]))

    @property
    def rate(self) -> float:
        """The mean firing rate of the layer over neurons, steps and clips."""
        return self.spikes / (self.neurons * self.clips * len(self.fired))


@dataclass(frozen=True, eq=False)
class FiringRates:
    """The firing of all spiking layers of one network over the same clips and steps, by name."""

    layers: Mapping[str, LayerFiring]

    @property
    def neurons(self) -> int:
        """The number of neurons of the network."""
        return sum(layer.neurons for layer in self.layers.values())

    @property
    def spikes(self) -> int:
        """The number of all spikes of the network."""
        return sum(layer.spikes for layer in self.layers.values())

    @property
    def t_sfr(self) -> np.ndarray:
        """T-SFR, the mean of N-SFR over all neurons of the network, ``(T,)``."""
        by_step = np.sum([layer.fired.sum(axis=(1, 2, 3)) for layer in self.layers.values()], axis=0)
        return np.asarray(by_step / (self.neurons * self._one.clips))

    @property
    def nasfr(self) -> float:
        """NASFR, the network average spike firing rate: the mean of T-SFR over the steps."""
        return self.spikes / (self.neurons * self._one.clips * len(self._one.fired))

    @property
    def _one(self) -> LayerFiring:
        return next(iter(self.layers.values()))
