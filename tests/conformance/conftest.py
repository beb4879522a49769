# SPDX-License-Identifier: Apache-2.0
"""In this folder the made-up chip's package is installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.plugged import MADEUP, on_the_path


@pytest.fixture(autouse=True)
def _made_up_chip() -> Iterator[None]:
    with on_the_path(MADEUP):
        yield
