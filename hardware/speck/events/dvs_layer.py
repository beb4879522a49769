# SPDX-License-Identifier: Apache-2.0
"""What Speck does to the events of its own sensor before the first core: polarities, pool, cut, mirror.

The order on the chip is polarities, pool, cut and mirror (datasheet 2.3 and 3.2.3); sinabs 3.1.3 has the same one
(``dvs_layer.py``, ``flipdims.py``: x and y mirrored first, then swapped along the diagonal)::

    off or on disabled    events of that polarity are dropped
    merge                 both polarities go to channel 0; else OFF to 0, ON to 1
    pool                  (y // pH, x // pW), those of an incomplete window at the border are dropped
    cut                   the window of ``size`` from ``origin`` of the pooled map; outside it events are dropped
    mirror                y -> height - 1 - y, x -> width - 1 - x within the window, then y <-> x

Every event stays one event; nothing is summed. The event filter behind it (noise, hot pixels) is not modelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from spikefold.errors import ConfigError, DataError, Issue, NetworkError
from spikefold.event_dtype import EVENT_DTYPE, read_only
from spikefold.export.network import Network
from spikefold.export.ops import Pair, Shape
from spikefold.hardware.speck.events.entering_loop import enter

POOLS = (1, 2, 4)
_FIELDS = ("t", "x", "y", "p")
_DROPPED = -(2**60)
"""Added to an address by what is dropped; three of them fit in 64 bits."""


@dataclass(frozen=True)
class DvsLayer:
    """Settings of the layer; the default passes every event of a 128x128 sensor on.

    Attributes:
        sensor: ``(H, W)`` in pixels; Speck's own has 128x128.
        merge: both polarities in one channel.
        off: OFF events are passed on.
        on: ON events are passed on.
        pool: ``(pH, pW)``, each 1, 2 or 4.
        origin: ``(y, x)`` of the window in the pooled map.
        size: ``(H, W)`` of the window; None for what is left of the pooled map from the origin on.
        mirror_y: the window upside down.
        mirror_x: the window left to right.
        mirror_diagonal: rows and columns swapped, after the others.

    Raises:
        ConfigError: with every setting that the layer has not.
    """

    sensor: Pair = (128, 128)
    merge: bool = False
    off: bool = True
    on: bool = True
    pool: Pair = (1, 1)
    origin: Pair = (0, 0)
    size: Pair | None = None
    mirror_y: bool = False
    mirror_x: bool = False
    mirror_diagonal: bool = False

    def __post_init__(self) -> None:
        pooled, (height, width) = self.pooled, self.window
        inside = min(height, width) >= 1 and all(
            first >= 0 and first + side <= whole
            for first, side, whole in zip(self.origin, (height, width), pooled, strict=True)
        )
        rules = (
            (min(self.sensor) >= 1, "a sensor has pixels", f"{self.sensor}", "1x1 or more", "give (H, W)"),
            (self.on or self.off, "some events pass", "neither on nor off", "on, off or both", "enable one of them"),
            (all(side in POOLS for side in self.pool), "a pool is 1, 2 or 4 along each axis", f"{self.pool}",
             "1, 2 or 4", "cut, or pool behind a core"),
            (inside, "the cut lies in the pooled map", f"{height}x{width} from {self.origin}",
             f"{pooled[0]}x{pooled[1]}", "move or shrink it"),
        )  # fmt: skip
        issues = [Issue(rule, "dvs layer", got, limit, hint) for holds, rule, got, limit, hint in rules if not holds]
        if issues:
            raise ConfigError("Speck's sensor layer has no such settings", issues=issues)

    @property
    def pooled(self) -> Pair:
        """``(H, W)`` behind the pool."""
        return self.sensor[0] // max(1, self.pool[0]), self.sensor[1] // max(1, self.pool[1])

    @property
    def window(self) -> Pair:
        """``(H, W)`` behind the cut."""
        return self.size or (self.pooled[0] - self.origin[0], self.pooled[1] - self.origin[1])

    @property
    def output_shape(self) -> Shape:
        """``(C, H, W)`` of the map that the first core reads."""
        height, width = self.window[::-1] if self.mirror_diagonal else self.window
        return 1 if self.merge else 2, height, width


def entering(layer: DvsLayer, network: Network, events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The events that reach a network, in order of arrival: by time, those of equal times as they are listed.

    Args:
        layer: settings of the sensor's layer.
        network: reads that layer's map.
        events: structured array with whole numbers t (microseconds, in any order), x, y, and p (0 OFF, 1 ON).

    Returns:
        Addresses ``(y * width + x) * channels + channel`` in the network's input, and times in microseconds; both
        ``(events,)`` int64.

    Raises:
        NetworkError: the network reads another map than the layer gives.
        DataError: no such events, an event before time 0 or outside the sensor, a polarity other than 0 and 1.
    """
    if layer.output_shape != network.input.shape:
        raise NetworkError(
            f"the sensor's layer gives (C, H, W) {layer.output_shape}, the network reads {network.input.shape}",
            where="dvs layer",
            hint="pool, cut, merge or swap so that they meet",
        )
    rows, columns, polarities = _tables(layer)
    if events.dtype == EVENT_DTYPE and events.ndim == 1:
        addresses, times = np.empty((2, len(events)), np.int64)
        passed = enter(read_only(events), rows, columns, polarities, addresses, times)
        if passed >= 0:
            return addresses[:passed], times[:passed]
    t, x, y, p = _checked(layer, events)
    addresses = rows[y] + columns[x] + polarities[p]
    if min(rows.min(), columns.min(), polarities.min()) < 0:
        passing = addresses >= 0
        addresses, t = addresses[passing], t[passing]
    if len(t) and (t[1:] < t[:-1]).any():
        order = np.argsort(t, kind="stable")
        addresses, t = addresses[order], t[order]
    return addresses, t.astype(np.int64)


@lru_cache(maxsize=8)
def _tables(layer: DvsLayer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a row, a column and a polarity of the sensor add to an address; far below 0 where they are dropped."""
    channels, _, width_behind = layer.output_shape
    by_row, by_column = width_behind * channels, channels
    if layer.mirror_diagonal:
        by_row, by_column = by_column, by_row
    rows = _places(layer.sensor[0], layer.pool[0], layer.origin[0], layer.window[0], mirrored=layer.mirror_y)
    columns = _places(layer.sensor[1], layer.pool[1], layer.origin[1], layer.window[1], mirrored=layer.mirror_x)
    channel = np.array([0, 0 if layer.merge else 1])
    return (
        np.where(rows < 0, _DROPPED, rows * by_row),
        np.where(columns < 0, _DROPPED, columns * by_column),
        np.where([layer.off, layer.on], channel, _DROPPED),
    )


def _places(side: int, pool: int, origin: int, length: int, *, mirrored: bool) -> np.ndarray:
    """Where each row or column of the sensor lies in the window, -1 outside of it, ``(side,)``."""
    place = np.arange(side) // pool - origin
    inside = (place >= 0) & (place < length)
    return np.where(inside, length - 1 - place if mirrored else place, -1)


def _checked(layer: DvsLayer, events: np.ndarray) -> list[np.ndarray]:
    """The columns t, x, y, p, each next to each other in memory."""
    names = events.dtype.names or ()
    if events.ndim != 1 or any(
        name not in names or not np.issubdtype(events.dtype[name], np.integer) for name in _FIELDS
    ):
        raise DataError(
            f"events are {events.dtype} {events.shape}", hint="give a structured array of whole numbers t, x, y, p"
        )
    t, x, y, p = (np.ascontiguousarray(events[name]) for name in _FIELDS)
    for name, values, most in (("t", t, None), ("x", x, layer.sensor[1]), ("y", y, layer.sensor[0]), ("p", p, 2)):
        if len(values) and (values.min() < 0 or (most is not None and values.max() >= most)):
            limit = "0 or more" if most is None else f"0 to {most - 1}"
            raise DataError(
                f"{name} runs from {values.min()} to {values.max()}, allowed is {limit}",
                hint="check the sensor size, the polarities, and where time starts",
            )
    return [t, x, y, p]
