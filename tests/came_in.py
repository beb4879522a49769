# SPDX-License-Identifier: Apache-2.0
"""What a test of somebody else's network says of it, for the table of ``python -m benchmarks.networks``."""

from __future__ import annotations

from collections.abc import Callable, Collection

Record = Callable[[str, object], None]
LAYERS, SPIKES, LEAST, REFUSED = "layers", "spikes", "least", "refused"


def came_in(record: Record, spikes: Collection[int]) -> None:
    """The network came in and fired as there: the spikes of each of its layers, which were all compared."""
    assert spikes
    assert min(spikes) > 0
    for name, value in ((LAYERS, len(spikes)), (SPIKES, sum(spikes)), (LEAST, min(spikes))):
        record(name, value)


def was_refused(record: Record, reason: str) -> None:
    """The network was refused, for this reason, which the test holds to be the true one."""
    assert reason
    record(REFUSED, reason)
