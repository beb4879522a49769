# SPDX-License-Identifier: Apache-2.0
"""A reporter for stages that are called without the command line."""

from __future__ import annotations


class Silent:
    """Keeps the lines that it is told, and shows nothing."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, task: str, done: int, of: int, note: str = "") -> None:
        self.lines.append(task)
