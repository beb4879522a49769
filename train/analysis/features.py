# SPDX-License-Identifier: Apache-2.0
"""What the spike features of a layer are like: silent, noise or normal, and which of them are ghosts of another.

The spike feature of a channel at a step is its map of N-SFR. The paper names the kinds and shows pictures of them;
the rules that decide here are ours, written down in `Rules`, and go into every result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import connected_components

from spikefold.errors import ConfigError, Issue
from spikefold.train.analysis.firing_rates import LayerFiring

KINDS = ("null", "noise", "normal")
"""Of a channel at a step; `patterns` gives their places here."""


@dataclass(frozen=True)
class Rules:
    """What the words mean.

    Attributes:
        background: a pixel is background of a clip if it gets at most this share of the mean events of its pixels;
            a neuron, if all pixels of its receptive field are (`spikefold.train.analysis.background`).
        null: a channel at a step is null if its neurons fire at most at this rate.
        noise: it is noise if it is not null and its neurons on the background fire at least at this share of the rate
            of those on the foreground; else it is normal.
        ghost: two channels are alike at a step if the cosine between their maps is at least this. Of channels that
            are alike, directly or through others, the first is an original and the rest are its ghosts.

    Raises:
        ConfigError: a share outside 0 to 1, a rule by which every channel that is not silent would be one kind.
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
    """What of a layer lies on the background.

    Attributes:
        sites: positions of one channel's neurons on the background, summed over the clips.
        spikes: spikes of those neurons, ``(T, C)`` int64.
    """

    sites: int
    spikes: np.ndarray


def patterns(firing: LayerFiring, background: Background, rules: Rules) -> np.ndarray:
    """The kind of each channel at each step, ``(T, C)`` int8, as an index of `KINDS`."""
    spikes = firing.fired.sum(axis=(2, 3))
    sites = firing.clips * firing.fired.shape[2] * firing.fired.shape[3]
    behind = background.spikes / max(1, background.sites)
    front = (spikes - background.spikes) / max(1, sites - background.sites)
    kinds = np.where(behind >= rules.noise * front, 1, 2)
    return np.where(firing.c_sfr <= rules.null, 0, kinds).astype(np.int8)


def ghosts(firing: LayerFiring, rules: Rules) -> np.ndarray:
    """Which channels are ghosts at each step, ``(T, C)`` bool; a silent channel never is."""
    found = np.zeros(firing.fired.shape[:2], bool)
    for step, fired in enumerate(firing.fired):
        maps = fired.reshape(len(fired), -1).astype(np.float64)
        products = maps @ maps.T
        squares = np.diag(products)
        # the cosine squared, without a division: proportional maps have exactly 1
        alike = (products**2 >= rules.ghost**2 * np.outer(squares, squares)) & (products > 0)
        families = connected_components(alike, directed=False)[1]
        found[step] = True
        found[step, np.unique(families, return_index=True)[1]] = False
    return found
