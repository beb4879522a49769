# SPDX-License-Identifier: Apache-2.0
"""Tells which process of a training under ``torchrun`` writes files and prints.

``torchrun`` sets ``RANK`` and ``WORLD_SIZE`` in the environment of every process that it starts. No heavy package is
imported here, because the command line asks before it needs one.
"""

from __future__ import annotations

import os


def world() -> int:
    """The number of processes that share the training; 1 without ``torchrun``."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this process writes files and prints: it is rank 0, or the only one."""
    return os.environ.get("RANK", "0") == "0"
