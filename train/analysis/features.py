# SPDX-License-Identifier: Apache-2.0
"""Sorts spike features into silent, noise and normal ones, and finds ghosts, which repeat another feature.

The spike feature of a channel at a step is its map of N-SFR. The paper names the kinds and shows pictures of them.
The rules that decide here are ours; `Rules` holds their numbers, which are part of every result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import connected_components

from spikefold.errors import ConfigError, Issue
from spikefold.train.analysis.firing_rates import LayerFiring

KINDS = ("null", "noise", "normal")
"""The kinds of a spike feature; `patterns` returns indices into this tuple."""


@dataclass(frozen=True)
class Rules:
    """The numbers by which pixels and spike features are sorted.

    Attributes:
        background: a pixel is background of a clip if it gets at most this share of the mean number of events of a
            pixel. A neuron is background if all pixels of its receptive field are (see `background`).
        null: a channel at a step is null if its neurons fire at most at this rate.
        noise: a channel that is not null is noise if its neurons on the background fire at least at this share of the
            rate of its neurons on the foreground; else it is normal.
        ghost: two channels are alike at a step if the cosine between their maps is at least this. Of channels that
            are alike, directly or through others, the first is an original and the rest are its ghosts.

    Raises:
        ConfigError: a number is outside 0 to 1, or would sort all channels that are not silent into one kind.
    """

    background: float = 0.5
    null: float = 0.001
    noise: float = 0.5
    ghost: float = 0.95

    def __post_init__(self) -> None:
        limits = {"background": "0 to 1", "null": "0 to below 1", "noise": "above 0 to 1", "ghost": "above 0 to 1"}
        held = {
            "background": 0 <= self.background <= 1,
            "null": 0 <= self.null < 1,
            "noise": 0 < self.noise <= 1,
            "ghost": 0 < self.ghost <= 1,
        }
        issues = [
            Issue("a share", name, str(getattr(self, name)), limits[name], "choose one in between")
            for name, good in held.items()
            if not good
        ]
        if issues:
            raise ConfigError("wrong rules for spike features", issues=issues)


@dataclass(frozen=True, eq=False)
class Background:
    """The part of a layer that lies on the background.

    Attributes:
        sites: the number of one channel's neurons on the background, summed over the clips.
        spikes: the spikes ``(T, C)`` int64 of those neurons.
    """

    sites: int
    spikes: np.ndarray


def patterns(firing: LayerFiring, background: Background, rules: Rules) -> np.ndarray:
    """The kind of each channel at each step, ``(T, C)`` int8, as an index into `KINDS`."""
    spikes = firing.fired.sum(axis=(2, 3))
    sites = firing.clips * firing.fired.shape[2] * firing.fired.shape[3]
    behind = background.spikes / max(1, background.sites)
    front = (spikes - background.spikes) / max(1, sites - background.sites)
    kinds = np.where(behind >= rules.noise * front, 1, 2)
    return np.where(firing.c_sfr <= rules.null, 0, kinds).astype(np.int8)


def ghosts(firing: LayerFiring, rules: Rules) -> np.ndarray:
    """Which channels are ghosts at each step, ``(T, C)`` bool; a silent channel is never one."""
    found = np.zeros(firing.fired.shape[:2], bool)
    for step, fired in enumerate(firing.fired):
        maps = fired.reshape(len(fired), -1).astype(np.float64)
        products = maps @ maps.T
        squares = np.diag(products)
        # the squared cosine is compared without a division, so that proportional maps reach exactly 1
        alike = (products**2 >= rules.ghost**2 * np.outer(squares, squares)) & (products > 0)
        families = connected_components(alike, directed=False)[1]
        found[step] = True
        found[step, np.unique(families, return_index=True)[1]] = False
    return found
