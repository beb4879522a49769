# SPDX-License-Identifier: Apache-2.0
"""How the tests of ``.nir`` files read them."""

from __future__ import annotations

from pathlib import Path
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

        def read_here(path: Path) -> dict[str, Any]:
            tree, arrays = nir_hdf5.read_tree(str(path), "node")
            return nir_file.decoded(tree, list(arrays.values()))

        monkeypatch.setattr(nir_file, "_read_tree", read_here)


@pytest.fixture
def rng() -> np.random.Generator:
    """The same numbers for each test, whichever ran before."""
    return np.random.default_rng(5)
