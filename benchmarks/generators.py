# SPDX-License-Identifier: Apache-2.0
"""Generated recordings, ms each, numba compiled beforehand."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from spikefold.train.data.synthetic import digits, gestures


def table() -> Iterator[tuple[str, str]]:
    """Rows of name and figure."""
    images = digits.load_images("train")
    makers = {
        "gestures, 128x128, 0.8 s": lambda index: gestures.generate_one(index, 0),
        "digits, 34x34, 0.3 s": lambda index: digits.generate_one(index, 0, images=images),
    }
    for name, make in makers.items():
        make(0)
        times = []
        for index in range(22):
            started = time.process_time()
            make(index)
            times.append((time.process_time() - started) * 1e3)
        yield name, f"{statistics.median(times):8.1f} ms  (min {min(times):.1f}, max {max(times):.1f})"
