# SPDX-License-Identifier: Apache-2.0
"""Where the stages tell what they do, when nobody sits at a terminal: the logger ``spikefold``, level INFO."""

from __future__ import annotations

import logging

_LOGGER = logging.getLogger("spikefold")


class Quiet:
    """A `spikefold.session.Reporter` that logs."""

    def line(self, text: str) -> None:
        """One finished fact."""
        _LOGGER.info(text)

    def progress(self, task: str, done: int, of: int, note: str = "") -> None:
        """A step of long work."""
        _LOGGER.info("%s: %d/%d %s", task, done, of, note)
