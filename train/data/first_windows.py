# SPDX-License-Identifier: Apache-2.0
"""The events of the first clip of each recording, read when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np

from spikefold.train.data.events import Recording
from spikefold.train.data.frames import Binning, window


@dataclass(frozen=True, eq=False)
class FirstWindows(Sequence[np.ndarray]):
    """Clips as events: structured arrays of `EVENT_DTYPE`, sorted by time, read-only.

    Where the recordings keep their events in a file (`event_store`) it holds no event in memory, and another process
    is sent the names of recordings and the open file.

    Attributes:
        recordings: that the clips begin with.
        binning: of a clip.
    """

    recordings: Sequence[Recording]
    binning: Binning

    def __len__(self) -> int:
        return len(self.recordings)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> FirstWindows: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | FirstWindows:
        if isinstance(index, slice):
            return replace(self, recordings=self.recordings[index])
        return window(self.recordings[index].events, self.binning, 0)

    def only(self, chosen: np.ndarray) -> FirstWindows:
        """The chosen clips, by index."""
        return replace(self, recordings=tuple(self.recordings[index] for index in chosen))
