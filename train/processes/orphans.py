# SPDX-License-Identifier: Apache-2.0
"""Processes that end with the one that started them, however it ends. Light: helpers of no numerics load it too."""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing.connection import wait


def end_with_parent() -> None:
    """Watch the process that started this one, in a thread; does nothing in a process that no other started."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True).start()


def _watch(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
