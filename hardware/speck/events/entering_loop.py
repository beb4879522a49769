# SPDX-License-Identifier: Apache-2.0
"""The loop of `dvs_layer.entering` over events as recordings hold them, compiled; a training enters clips anew."""

from __future__ import annotations

import numpy as np

from spikefold.compiled import compiled


@compiled()
def enter(
    events: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    polarities: np.ndarray,
    addresses: np.ndarray,
    times: np.ndarray,
) -> int:
    """Write address and time of each event that passes.

    Args:
        events: ``(N,)`` of `event_dtype.EVENT_DTYPE`, read-only.
        rows: what a row of the sensor adds to an address, ``(H,)`` int64; a sum below 0 does not pass.
        columns: likewise a column, ``(W,)``.
        polarities: likewise OFF and ON, ``(2,)``.
        addresses: ``(N,)`` int64; written to from its front.
        times: likewise.

    Returns:
        How many pass; -1 where an event lies outside of the sensor, or earlier than the one before it.
    """
    count, last = 0, np.int64(0)
    for index in range(len(events)):
        event = events[index]
        time = np.int64(event["t"])
        y, x, p = event["y"], event["x"], event["p"]
        if time < last or y >= len(rows) or x >= len(columns) or p >= len(polarities):
            return -1
        last = time
        address = rows[y] + columns[x] + polarities[p]
        if address >= 0:
            addresses[count], times[count] = address, time
            count += 1
    return count
