# SPDX-License-Identifier: Apache-2.0
"""Ends a program by ``kill -9`` at a line that it tells."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path


def killed_at(beginning: str, command: list[str], folder: Path) -> None:
    """Start a command in a folder, and kill it as soon as a line on its standard error begins so."""
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(beginning):
                break
        process.send_signal(signal.SIGKILL)
        process.wait(60)
