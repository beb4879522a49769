# SPDX-License-Identifier: Apache-2.0
"""The environment of a program that a test starts in a process of its own, and that imports from ``tests``."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]


def environment() -> dict[str, str]:
    """This process' environment, with the folder that holds ``tests`` on Python's path."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
