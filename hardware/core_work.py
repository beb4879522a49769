# SPDX-License-Identifier: Apache-2.0
"""What the cores of a chip do in each step of a run, one record a layer; a chip's room says how it counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spikefold.errors import MismatchError


@dataclass(frozen=True, eq=False)
class CoreWork:
    """One layer on its cores.

    Attributes:
        layer: the weight layer.
        neurons: on each core, ``(cores,)`` int64.
        operations: synaptic operations by step, clip and core, ``(T, N, cores)`` int64.
        messages: spikes that arrive at a core and have at least one synapse there, ``(T, N, cores)`` int64.
        spikes: of the neurons on a core, ``(T, N, cores)`` int64.
        updates: of the neurons on a core, as the chip counts them, ``(T, N, cores)`` int64.

    Raises:
        MismatchError: the parts differ in steps, clips or cores.
    """

    layer: str
    neurons: np.ndarray
    operations: np.ndarray
    messages: np.ndarray
    spikes: np.ndarray
    updates: np.ndarray

    def __post_init__(self) -> None:
        shapes = {one.shape for one in (self.operations, self.messages, self.spikes, self.updates)}
        if len(shapes) != 1 or self.operations.shape[2:] != self.neurons.shape:
            raise MismatchError(f"cores of {self.layer} with {shapes} and {self.neurons.shape}")

    @property
    def cores(self) -> int:
        """How many cores the layer has."""
        return len(self.neurons)


def joined(parts: Sequence[CoreWork]) -> CoreWork:
    """The work of one layer on several sets of clips, one behind the other."""
    fields = ("operations", "messages", "spikes", "updates")
    whole = {name: np.concatenate([getattr(part, name) for part in parts], axis=1) for name in fields}
    return CoreWork(parts[0].layer, parts[0].neurons, **whole)
