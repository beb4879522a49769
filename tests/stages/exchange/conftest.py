# SPDX-License-Identifier: Apache-2.0
"""What the tests of foreign networks share: a network of sinabs and its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from tests.stages.exchange.sinabs_file import sinabs_network, written


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[nn.Sequential, Path]]:
    folder = tmp_path_factory.mktemp("nir")

    def make(*, single: bool, pool: bool) -> tuple[nn.Sequential, Path]:
        model = sinabs_network(single=single, pool=pool)
        return model, written(model, folder / f"{single}{pool}.nir")

    return make
