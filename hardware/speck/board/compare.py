# SPDX-License-Identifier: Apache-2.0
"""Measures how far a chip is from its simulator, against what is published about chips.

"Equal or not" is no fair question here: the same Speck, given the same events, does not always give the same spikes
(sinabs issue 53). So the spike difference of each layer is put beside two published ones and gets the name of
the class it falls into. The measure is that of the source: with counts a, b of each neuron over a clip::

    SD = sum |a - b| / sum a                                    a the simulator's, b the chip's; all neurons and clips

Source of both figures: "Temporal Flexibility in Spiking Neural Networks" (MTT), N-MNIST, 3C1FC, Speck2e, the output
layer; second-hand. Hidden layers and other networks borrow them. Time is not in the measure; in how many time bins
the rasters differ is reported beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from spikefold.hardware.simulators.trace import Trace

CHIP_TO_CHIP = 0.0281
"""Published SD between chips."""
SIMULATOR_TO_CHIP = 0.0392
"""Published SD between an event-based simulator and a chip."""


class Agreement(StrEnum):
    """What a spike difference means, best first."""

    IDENTICAL = "identical"
    CHIP_NOISE = "within chip-to-chip noise"
    SIMULATOR_GAP = "within the published simulator gap"
    BEYOND = "beyond the published simulator gap"
    NOTHING = "nothing was compared"


_FROM_BEST = list(Agreement)


def worst(classes: Sequence[Agreement]) -> Agreement:
    """The worst of them; nothing was compared where there are none."""
    return max(classes, key=_FROM_BEST.index, default=Agreement.NOTHING)


def spike_difference(expected: np.ndarray, found: np.ndarray) -> float | None:
    """SD of two rasters ``(T, N, C, H, W)``, counted over T; None where the expected one is silent."""
    total = int(expected.sum(dtype=np.int64))
    return spikes_apart(expected, found) / total if total else None


def spikes_apart(expected: np.ndarray, found: np.ndarray) -> int:
    """The sum of ``|a - b|`` over the clips and neurons of two rasters ``(T, N, C, H, W)``, counted over T."""
    a, b = (raster.sum(axis=0, dtype=np.int64) for raster in (expected, found))
    return int(np.abs(a - b).sum())


def classify(difference: float | None) -> Agreement:
    """The class of an SD."""
    if difference is None:
        return Agreement.NOTHING
    bounds = (0.0, CHIP_TO_CHIP, SIMULATOR_TO_CHIP)
    return next((_FROM_BEST[i] for i, bound in enumerate(bounds) if difference <= bound), Agreement.BEYOND)


@dataclass(frozen=True)
class LayerAgreement:
    """One layer of the chip against the simulator.

    Attributes:
        layer: its name.
        neurons: of the layer.
        spikes_simulated: over all clips.
        spikes_device: likewise, of each repeat.
        differences: SD of each repeat against the simulator; None where the simulator's layer is silent.
        bins_differing: numbers of (bin, clip, neuron) whose counts differ, of each repeat.
        between_repeats: SD of each further repeat against the first.
        without_first_event: SD of each repeat against a simulation in which each core loses a clip's first event.
    """

    layer: str
    neurons: int
    spikes_simulated: int
    spikes_device: tuple[int, ...]
    differences: tuple[float | None, ...]
    bins_differing: tuple[int, ...]
    between_repeats: tuple[float | None, ...]
    without_first_event: tuple[float | None, ...]

    @property
    def agreement(self) -> Agreement:
        """The class of the worst repeat."""
        return worst([classify(difference) for difference in self.differences])


def agreements(simulated: Trace, repeats: Sequence[Trace], without_first: Trace | None) -> tuple[LayerAgreement, ...]:
    """Each layer of the chip's repeats against the simulator.

    Args:
        simulated: the same layers.
        repeats: one trace each, the same layers.
        without_first: the simulation in which each core loses a clip's first event, or None.
    """
    found = []
    for name, layer in simulated.layers.items():
        rasters = [trace.layers[name].raster for trace in repeats]
        lost = None if without_first is None else without_first.layers[name].raster
        found.append(
            LayerAgreement(
                name,
                int(np.prod(layer.raster.shape[2:])),
                layer.spikes,
                tuple(trace.layers[name].spikes for trace in repeats),
                tuple(spike_difference(layer.raster, raster) for raster in rasters),
                tuple(int((layer.raster != raster).sum()) for raster in rasters),
                tuple(spike_difference(rasters[0], raster) for raster in rasters[1:]),
                () if lost is None else tuple(spike_difference(lost, raster) for raster in rasters),
            )
        )
    return tuple(found)
