# SPDX-License-Identifier: Apache-2.0
"""Makes a process end with the process that started it, however that one ends.

No heavy package is imported here, because processes that compute nothing need it too.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing.connection import wait


def end_with_parent() -> None:
    """Watch the parent process in a thread, and end with it; without a parent of this program nothing is done."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True).start()


def _watch(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
