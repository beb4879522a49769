# SPDX-License-Identifier: Apache-2.0
"""How the events of an event camera lie in memory: what recordings hold, and what the compiled loops are made for."""

from __future__ import annotations

import numpy as np

EVENT_DTYPE = np.dtype([("t", "<u4"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])
"""One event: ``t`` in microseconds from the start, ``x`` column, ``y`` row, ``p`` 1 for ON and 0 for OFF."""


def read_only(events: np.ndarray) -> np.ndarray:
    """The same events, next to each other in memory, as an array that cannot be written to.

    A compiled loop is compiled anew for arrays that can be; so it is compiled once.
    """
    view = np.ascontiguousarray(events).view()
    view.setflags(write=False)
    return view
