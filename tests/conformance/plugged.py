# SPDX-License-Identifier: Apache-2.0
"""What the tests of this folder share: where the made-up chip's package lies, and every chip with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spikefold.hardware import registry

MADEUP = Path(__file__).with_name("madeup_chip")
"""On the path it is an installed package: it has a ``dist-info`` folder with entry points."""


@contextmanager
def on_the_path(*folders: Path) -> Iterator[None]:
    """Packages in these folders are installed as long as the block lasts."""
    before = list(sys.path)
    sys.path[:0] = map(str, folders)
    registry.chips.cache_clear()
    try:
        yield
    finally:
        sys.path[:] = before
        registry.chips.cache_clear()


def names() -> tuple[str, ...]:
    """Every chip, the made-up ones too."""
    with on_the_path(MADEUP):
        return tuple(registry.chips())
