# SPDX-License-Identifier: Apache-2.0
"""What the event-driven simulator makes of a network once, whatever runs through it: it costs more than a short clip.

Kept with the network (`Network.derived`), because a network never changes: the cores' weights in the order in which
events read them, the wiring of the cores, and the places of their neurons in an order of emission.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from spikefold.export.network import Network
from spikefold.hardware.simulators.event_rows import EventRows, Word, event_rows
from spikefold.hardware.speck.cores import CoreLayer
from spikefold.hardware.speck.events.core import Rank
from spikefold.hardware.speck.events.options import Emission, Options
from spikefold.hardware.speck.events.order import emission_rank
from spikefold.hardware.speck.events.queue import Source, sources_of


@dataclass(eq=False)
class Prepared:
    """One network.

    Attributes:
        network: the network.
    """

    network: Network
    _made: dict[tuple[Any, ...], Any] = field(init=False, repr=False, default_factory=dict)

    def taps(self, layer: CoreLayer) -> Callable[[Word], EventRows]:
        """The weights of a core by the width of its numbers."""
        return partial(self._taps, layer)

    def _taps(self, layer: CoreLayer, word: Word) -> EventRows:
        def make() -> EventRows:
            shapes = layer.input_shape, layer.neuron_shape
            return event_rows(layer.weight, *shapes, layer.stride, layer.padding, word)

        found: EventRows = self._once(("taps", layer.name, word), make)
        return found

    def sources(self, layer: CoreLayer, options: Options) -> list[Source]:
        """What a core reads, in the order in which it takes their events."""
        last = options.emission is Emission.FEATURES_DESCENDING
        key = ("sources", layer.name, last)
        found: list[Source] = self._once(key, lambda: sources_of(self.network, layer.name, last_part_first=last))
        return found

    def rank(self, layer: CoreLayer, number: int, options: Options) -> Rank | None:
        """The places of a core's neurons among the spikes of one event; None for ascending addresses."""

        def make() -> Rank | None:
            places = emission_rank(layer.neuron_shape, number, options)
            return None if places is None else Rank(np.ascontiguousarray(places, np.int64), np.argsort(places))

        found: Rank | None = self._once(("rank", number, options.emission, options.seed), make)
        return found

    def _once(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def prepared(network: Network) -> Prepared:
    """What was made of a network so far."""
    return network.derived(Prepared)
