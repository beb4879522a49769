# SPDX-License-Identifier: Apache-2.0
"""Which process of a training under ``torchrun`` writes and talks; no heavy package, for the command line asks too.

``torchrun`` sets ``RANK`` and ``WORLD_SIZE`` in the environment of every process that it starts.
"""

from __future__ import annotations

import os


def world() -> int:
    """How many processes share the training; 1 without ``torchrun``."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this process writes and talks: rank 0, or alone."""
    return os.environ.get("RANK", "0") == "0"
