# SPDX-License-Identifier: Apache-2.0
"""How the tests of ``.nir`` files read them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spikefold.export.nir import file as nir_file
from spikefold.export.nir import hdf5 as nir_hdf5


@pytest.fixture
def isolated() -> None:
    """For tests of damaged files: read as the program does, in a process of its own."""


@pytest.fixture
def in_this_process(request: pytest.FixtureRequest, monkeypatch: Any) -> None:
    """Whole files are read by the same code in this process: a hundred starts of Python tell nothing new."""
    if "isolated" not in request.fixturenames:
        monkeypatch.setattr(
            nir_file, "_read_tree", lambda path: nir_file.decoded(*nir_hdf5.read_tree(str(path), "node"))
        )


@pytest.fixture
def rng() -> np.random.Generator:
    """The same numbers for each test, whichever ran before."""
    return np.random.default_rng(5)
